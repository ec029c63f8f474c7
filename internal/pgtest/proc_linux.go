package pgtest

import "syscall"

// dieWithUs has a child stopped when the thread that starts it ends.
func dieWithUs(attr syscall.SysProcAttr) *syscall.SysProcAttr {
	attr.Pdeathsig = syscall.SIGQUIT
	return &attr
}
