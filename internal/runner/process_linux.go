package runner

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/errandhq/errand/worker"
)

// child is a program that was started, with all that it starts itself.
type child struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when nothing of it is left

	mu     sync.Mutex
	reaped bool // its process id may be another's now
}

// launch starts cmd in a process group of its own that ends with this process.
// dir is its directory, which marks everything that it starts.
func launch(cmd *exec.Cmd, dir string) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{cmd: cmd, gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the thread ends that started the
		// program, so this one must live as long as it: prctl(2).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err != nil {
			return
		}
		c.wait(dir)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// wait kills what the program leaves behind when it has ended.
func (c *child) wait(dir string) {
	defer close(c.gone)
	pid := c.cmd.Process.Pid
	// Until it is reaped nobody else can get its process id, nor that of its group.
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	c.mu.Lock()
	c.reaped = true
	c.mu.Unlock()
	_ = c.cmd.Wait() // its state says all
	killMarked(dir)
}

// signal sends s to the whole group.
func (c *child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = syscall.Kill(-c.cmd.Process.Pid, s)
	}
}

// failure says why a program that is gone has not succeeded. last is the last
// line of its standard error.
func (c *child) failure(last string) error {
	ws := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	var err error
	switch {
	case ws.Signaled():
		err = worker.WithCode("Signal", fmt.Errorf("the program was ended by signal %d (%s)", int(ws.Signal()), ws.Signal()))
	case ws.ExitStatus() == 0:
		return nil
	default:
		err = worker.WithCode("ExitStatus", fmt.Errorf("the program ended with exit status %d", ws.ExitStatus()))
	}
	if last != "" {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return err
}

// killMarked kills every process that has the marker of an attempt's directory in
// its environment, and returns how many there were. It sees what has left its
// process group; it does not see a process that has cleared its environment, or
// that belongs to somebody else.
func killMarked(dir string) int {
	killed := 0
	for range 10 { // until none has been started meanwhile
		n := killMarkedOnce([]byte(marker(dir)))
		if killed += n; n == 0 {
			break
		}
	}
	return killed
}

func killMarkedOnce(mark []byte) int {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := os.FindProcess(pid) // holds on to this very process
		if err != nil {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && hasEntry(env, mark) && p.Kill() == nil {
			n++
		}
		_ = p.Release()
	}
	return n
}

// hasEntry reports whether a list of entries that each end with a zero byte has
// this one.
func hasEntry(env, entry []byte) bool {
	for e := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(e, entry) {
			return true
		}
	}
	return false
}
