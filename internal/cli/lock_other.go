//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package cli

import "os"

// lockFile does nothing where there is no flock.
func lockFile(*os.File) error { return nil }
