package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A client is one release of one of the provider's SDKs.
type client struct {
	name    string // as in the table
	version string

	// install makes the client ready to run and returns its command line, which
	// takes the script and the file for the results.
	install func(ctx context.Context, c client) ([]string, error)

	dcs        string // version of the DCS package, where it is released apart
	fewDetails bool   // knows the first eight members of the DCS details only
}

func (c client) String() string { return c.name + " " + c.version }

// clients lists what is measured: releases on both sides of every change that
// the SDKs made to these calls, and the newest.
var clients = []client{
	{name: "Go", version: "v0.1.20", install: installGo, fewDetails: true},
	{name: "Go", version: "v0.1.140", install: installGo},
	{name: "Go", version: "v0.1.174", install: installGo},
	{name: "Go", version: "v0.1.184", install: installGo},
	{name: "Go", version: "v0.1.207", install: installGo},
	{name: "Python", version: "3.1.177", install: installPython},
	{name: "Python", version: "3.1.200", install: installPython},
	{name: "Python", version: "3.1.219", install: installPython},
	{name: "Java", version: "3.1.107", dcs: "3.1.107", install: installJava},
	{name: "Java", version: "3.1.143", dcs: "3.1.130", install: installJava},
	{name: "Node", version: "3.1.215", install: installNode},
}

// cacheDir is where SDKs are installed: outside of the repository, so that a
// clean clone finds them again.
func cacheDir() (string, error) {
	if dir := os.Getenv("ERRAND_CONFORMANCE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "errand-conformance"), err
}

// installing bounds how many installations run at a time: compilers want memory.
var installing = make(chan struct{}, 2)

// cached returns a directory of the cache for what the files and words name,
// filled by fill unless an earlier run has filled it to the end.
func cached(name string, fill func(dir string) error, files []string, words ...string) (string, error) {
	root, err := cacheDir()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q", words)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", f, len(data))
		h.Write(data)
	}
	dir := filepath.Join(root, name+"-"+hex.EncodeToString(h.Sum(nil))[:12])
	done := filepath.Join(dir, "complete")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := fill(dir); err != nil {
		return "", err
	}
	return dir, os.WriteFile(done, nil, 0o644)
}

// command runs a program and returns what it printed, with all of it in the
// error if it failed.
func command(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, append(os.Environ(), env...), 5*time.Second
	var out, errs bytes.Buffer // one each: two pipes are copied at the same time
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func installGo(ctx context.Context, c client) ([]string, error) {
	root, err := cacheDir()
	if err != nil {
		return nil, err
	}
	// The go command has caches of its own: it is asked every time.
	bin := filepath.Join(root, "go-"+c.version)
	_, err = command(ctx, "clients/go", []string{"GOWORK=off", "GOFLAGS="}, "go", "build", "-trimpath", "-buildvcs=false", "-modfile="+c.version+".mod", "-o", bin, ".")
	return []string{bin}, err
}

func installPython(ctx context.Context, c client) ([]string, error) {
	lock, err := filepath.Abs("clients/python/requirements-" + c.version + ".txt")
	if err != nil {
		return nil, err
	}
	dir, err := cached("python-"+c.version, func(dir string) error {
		if _, err := command(ctx, dir, nil, "python3", "-m", "venv", "venv"); err != nil {
			return err
		}
		_, err := command(ctx, dir, nil, "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "-r", lock)
		return err
	}, []string{lock})
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs("clients/python/client.py")
	return []string{filepath.Join(dir, "venv/bin/python"), "-W", "ignore", program}, err
}

// maven bounds the runs of Maven to one: they share a local repository.
var maven sync.Mutex

// javaClasspath resolves the packages of a release and returns their class path.
func javaClasspath(ctx context.Context, c client) (string, error) {
	maven.Lock()
	defer maven.Unlock()
	root, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir, err := cached("java-"+c.version, func(dir string) error {
		_, err := command(ctx, "clients/java", nil, "mvn", "-q", "-B", "-Dmaven.repo.local="+filepath.Join(root, "m2"),
			"-Dsdk.version="+c.version, "-Dsdk.dcs.version="+c.dcs, "dependency:build-classpath", "-Dmdep.outputFile="+filepath.Join(dir, "classpath"))
		return err
	}, []string{"clients/java/pom.xml"}, c.version, c.dcs)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join(dir, "classpath"))
	return strings.TrimSpace(string(data)), err
}

func installJava(ctx context.Context, c client) ([]string, error) {
	path, err := javaClasspath(ctx, c)
	if err != nil {
		return nil, err
	}
	const source = "clients/java/src/main/java/Client.java"
	classes, err := cached("javaclasses-"+c.version, func(dir string) error {
		_, err := command(ctx, ".", nil, "javac", "-nowarn", "-Xlint:none", "-cp", path, "-d", dir, source)
		return err
	}, []string{source}, path)
	return []string{"java", "-cp", classes + ":" + path, "Client"}, err
}

func installNode(ctx context.Context, _ client) ([]string, error) {
	const from = "clients/node/"
	files := []string{from + "package.json", from + "package-lock.json", from + "client.js"}
	dir, err := cached("node", func(dir string) error {
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), data, 0o644); err != nil {
				return err
			}
		}
		_, err := command(ctx, dir, nil, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
		return err
	}, files)
	return []string{"node", filepath.Join(dir, "client.js")}, err
}

// install runs c.install under the bound of installations.
func (c client) ready(t *testing.T) []string {
	t.Helper()
	installing <- struct{}{}
	defer func() { <-installing }()
	argv, err := c.install(t.Context(), c)
	if err != nil {
		t.Fatalf("cannot install %s: %v", c, err)
	}
	return argv
}
