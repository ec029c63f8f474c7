//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// lock takes the database at path for this process alone. The lock lives on a
// file beside the database and dies with its holder, however that ends; the
// file itself stays, because removing it would let two holders in.
func lock(path string) (*os.File, error) {
	name := path + "-lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("database %s cannot be locked for this server: %w", path, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("database %s is in use by %s; stop that server first, or use another database", path, holder(f))
		_ = f.Close()
		return nil, err
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("database %s cannot be locked (its file system must support flock): %w", path, err)
	}
	// The number only helps to find the holder: failing to write it, on a full
	// disk for example, changes nothing.
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}

// unlock lets others in at once. To close the file would not do: a child that is
// being started has it open, too, until it runs a program of its own.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
