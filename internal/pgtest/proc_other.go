//go:build !linux

package pgtest

import "syscall"

// dieWithUs cannot be had here: a test that is killed leaves its server behind.
func dieWithUs(attr syscall.SysProcAttr) *syscall.SysProcAttr { return &attr }
