package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/errandhq/errand/bench/drive"
)

// process is a driver that runs.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan []byte
	stderr  *bytes.Buffer
	about   drive.About
}

// How long a driver may take for one command, and for one that stores a history.
const (
	patience     = 10 * time.Minute
	fillPatience = 3 * time.Hour
)

// startProcess starts a driver and returns once its system is ready.
func startProcess(dir, binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), answers: make(chan []byte), stderr: &bytes.Buffer{}}
	p.cmd.Dir, p.cmd.Stderr = dir, p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.answers)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			p.answers <- bytes.Clone(lines.Bytes())
		}
	}()
	if err := p.read(&p.about, patience); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	if p.about.Error != "" {
		return nil, errors.Join(errors.New(p.about.Error), p.stop())
	}
	return p, nil
}

func (p *process) read(v any, limit time.Duration) error {
	select {
	case line, ok := <-p.answers:
		if !ok {
			return fmt.Errorf("the driver ended: %s", strings.TrimSpace(p.stderr.String()))
		}
		return json.Unmarshal(line, v)
	case <-time.After(limit):
		return fmt.Errorf("the driver has not answered within %s", limit)
	}
}

// do makes the driver measure something.
func (p *process) do(c drive.Command) (drive.Result, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return drive.Result{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return drive.Result{}, fmt.Errorf("%w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	var r drive.Result
	limit := patience
	if c.Do == "fill" {
		limit = fillPatience
	}
	if err := p.read(&r, limit); err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s", c.Do, r.Error)
	}
	return r, nil
}

// stop lets the driver end, and kills it if it does not.
func (p *process) stop() error {
	_ = p.in.Close()
	late := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	for range p.answers { // it may still have something to say
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the driver ended: %w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	return nil
}

// pids returns the processes that the system runs in.
func (p *process) pids() []int {
	if len(p.about.PIDs) > 0 {
		return p.about.PIDs
	}
	return []int{p.cmd.Process.Pid}
}

// anonymous returns how many bytes of memory processes have for themselves, which
// leaves out files and shared memory. A process that has ended has none.
func anonymous(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			if kb, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				n, _ := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
				sum += n << 10
			}
		}
	}
	return sum
}

// stat returns the parent of a process and the processor time that it has taken,
// in ticks of 10 ms.
func stat(pid int) (parent int, ticks int64, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	_, rest, found := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if !found || len(f) < 13 {
		return 0, 0, false
	}
	parent, err1 := strconv.Atoi(f[1])
	user, err2 := strconv.ParseInt(f[11], 10, 64)
	system, err3 := strconv.ParseInt(f[12], 10, 64)
	return parent, user + system, errors.Join(err1, err2, err3) == nil
}

// processorTime returns how long processes have worked.
func processorTime(pids []int) time.Duration {
	var sum int64
	for _, pid := range pids {
		if _, ticks, ok := stat(pid); ok {
			sum += ticks
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// family returns a process and its children.
func family(pid int) []int {
	all := []int{pid}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		child, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if parent, _, ok := stat(child); ok && parent == pid {
			all = append(all, child)
		}
	}
	return all
}
