//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sqlite

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestCloseLetsOthersIn has the lock's file open once more, as a child has that
// is being started.
func TestCloseLetsOthersIn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "errand.db")
	s := openAt(t, path)
	child, err := syscall.Dup(int(s.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	closeStore(t, s)
	openAt(t, path)
}
