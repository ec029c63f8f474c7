//go:build linux

package runner_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/internal/workertest"
)

// asServer is set for the process that TestServerKilled kills: the directory of
// attempts, and the script to run.
const asServer = "ERRAND_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) == "" {
		os.Exit(m.Run())
	}
	r, err := runner.New(nil, nil, runner.Options{Dir: os.Args[1]})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p := shell(os.Args[2], os.Args[3:]...)
	h := r.Handler(catalog.Entry{Program: &p})
	workertest.Attempt(context.Background(), h, aTask(), nil)
}

// TestServerKilled kills a server while a program of its runs. The program ends
// with it; what the program has started is ended by the next server on the same
// directory, before that claims anything.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "work")
	leader, children := newFifo(t), newFifo(t)
	server := exec.Command(os.Args[0], dir, `
		exec 8>"$2"
		(trap '' TERM HUP; echo child >&8; sleep 1000) &
		setsid sleep 1000 &
		exec 8>&- 9>"$1"
		echo "$PWD" >&9
		while :; do sleep 1000 9>&-; done`, leader.path, children.path)
	server.Env = append(os.Environ(), asServer+"=1")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	attempt := leader.line(t)
	if said := children.line(t); said != "child" {
		t.Fatalf("a child said %q", said)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // it was killed
	if said := leader.end(t); said != "" {
		t.Errorf("the program said %q", said)
	}
	if _, err := os.Stat(attempt); err != nil {
		t.Errorf("the directory of the attempt: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if _, err := runner.New(nil, nil, runner.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	children.end(t)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left in the directory of attempts: %v, %v", left, err)
	}
}
