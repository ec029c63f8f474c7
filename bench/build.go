package main

import (
	"context"
	"embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

//go:embed bullmq/package.json bullmq/peer.mjs
var bullmqFiles embed.FS

// temporalVersion is the release of Temporal's command line that is built.
const temporalVersion = "v1.5.1"

// buildErrand builds the binary that ships, from the tree around this module.
func buildErrand(ctx context.Context, e *environment) (string, error) {
	if e.errand == "" {
		bin := filepath.Join(e.bin, "errand")
		if _, err := tool(ctx, "..", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./cmd/errand"); err != nil {
			return "", err
		}
		e.errand, e.revision = bin, "of this tree"
		if revision, err := tool(ctx, "..", "git", "describe", "--tags", "--always", "--dirty"); err == nil {
			e.revision = revision
		}
	}
	return e.revision, nil
}

func buildErrandOnPostgres(ctx context.Context, e *environment) (string, error) {
	if err := needsPostgres(ctx, e); err != nil {
		return "", err
	}
	return buildErrand(ctx, e)
}

// buildRiverSQLite builds the driver that has a module of its own.
func buildRiverSQLite(ctx context.Context, e *environment) (string, error) {
	e.river = filepath.Join(e.bin, "riversqlite")
	if _, err := tool(ctx, "riversqlite", "go", "build", "-o", e.river, "."); err != nil {
		return "", err
	}
	version, err := tool(ctx, "riversqlite", "go", "list", "-m", "-f", "{{.Version}}", "github.com/riverqueue/river/riverdriver/riversqlite")
	return strings.TrimPrefix(version, "v"), err
}

// installBullMQ installs what the driver needs from npm.
func installBullMQ(ctx context.Context, e *environment) (string, error) {
	if err := needsRedis(ctx, e); err != nil {
		return "", err
	}
	e.bullmq = filepath.Join(e.bin, "bullmq")
	if _, err := os.Stat(e.bullmq); err != nil {
		if err := os.CopyFS(e.bin, bullmqFiles); err != nil {
			return "", err
		}
		if _, err := tool(ctx, e.bullmq, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"); err != nil {
			return "", err
		}
	}
	text, err := os.ReadFile(filepath.Join(e.bullmq, "node_modules", "bullmq", "package.json"))
	if err != nil {
		return "", err
	}
	var p struct{ Version string }
	err = json.Unmarshal(text, &p)
	return p.Version, err
}

// buildTemporal builds the development server from its module, which takes some
// minutes the first time.
func buildTemporal(ctx context.Context, e *environment) (string, error) {
	dir := filepath.Join(e.bin, "temporal")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module temporal\n\ngo 1.26\n"), 0o600); err != nil {
		return "", err
	}
	const command = "github.com/temporalio/cli/cmd/temporal"
	if _, err := tool(ctx, dir, "go", "get", command+"@"+temporalVersion); err != nil {
		return "", err
	}
	e.temporal = filepath.Join(dir, "temporal")
	if _, err := tool(ctx, dir, "go", "build", "-o", e.temporal, command); err != nil {
		return "", err
	}
	version, err := tool(ctx, dir, e.temporal, "--version")
	if _, server, ok := strings.Cut(version, "Server "); ok {
		server, _, _ = strings.Cut(server, ",")
		version = "command line " + strings.TrimPrefix(temporalVersion, "v") + ", server " + server
	}
	return version, err
}
