//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sqlite

import (
	"fmt"
	"os"
	"runtime"
)

// lock refuses: without flock, two servers could write to one file.
func lock(path string) (*os.File, error) {
	return nil, fmt.Errorf("database %s cannot be served on %s; run the server on Linux, macOS or a BSD", path, runtime.GOOS)
}

func unlock(f *os.File) error { return f.Close() }
