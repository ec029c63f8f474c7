package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// diskFloor returns how often in a second a block of 4 KiB can be written and
// synced, one after the other: what the disk under dir can do.
func diskFloor(dir string, length time.Duration) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	start, n := time.Now(), 0
	for ; time.Since(start) < length; n++ {
		if _, err := f.WriteAt(block, int64(n%256)*4096); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// onDisk refuses a directory that is in memory, where nothing is ever synced.
func onDisk(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is in memory: set TMPDIR to a directory on a disk", filepath.Dir(dir))
	}
	return nil
}

// describe notes what this machine is, and the versions of what is shared.
func (r *report) describe(ctx context.Context, e *environment) {
	r.machine = append(r.machine, fmt.Sprintf("%d processors (%s), %s of memory", runtime.NumCPU(), lineOf("/proc/cpuinfo", "model name"), memory()))
	system := lineOf("/etc/os-release", "PRETTY_NAME")
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		system += ", Linux " + unix.ByteSliceToString(u.Release[:])
	}
	r.machine = append(r.machine, strings.Trim(system, `"`), runtime.Version())
	if e.pg != nil {
		r.machine = append(r.machine, firstLine(ctx, filepath.Join(e.pg.bin, "postgres"), "--version")+" with "+strings.Join(postgresSettings(), ", "))
	}
	if text := firstLine(ctx, "redis-server", "--version"); text != "" {
		version, _, _ := strings.Cut(text, " sha=")
		r.machine = append(r.machine, version)
	}
	if text := firstLine(ctx, "node", "--version"); text != "" {
		r.machine = append(r.machine, "Node "+text)
	}
}

func firstLine(ctx context.Context, name string, args ...string) string {
	out, _ := exec.CommandContext(ctx, name, args...).Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// lineOf returns the value of the first line of a file that begins with a name.
func lineOf(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Trim(strings.TrimSpace(rest), ":= \t\"")
		}
	}
	return "unknown"
}

func memory() string {
	var kb int64
	if _, err := fmt.Sscan(lineOf("/proc/meminfo", "MemTotal"), &kb); err != nil {
		return "unknown size"
	}
	return fmt.Sprintf("%d GiB", (kb+(1<<19))>>20)
}
