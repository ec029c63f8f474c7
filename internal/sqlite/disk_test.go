package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/errandhq/errand"
)

// smallDisk mounts a file system of the given size, such as "2m", and returns
// its directory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput()
	if err != nil {
		t.Skipf("a small file system takes the right to mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

func remount(t *testing.T, dir, option string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+option, dir).CombinedOutput(); err != nil {
		t.Fatalf("remount with %s: %v: %s", option, err, out)
	}
}

// Whatever the disk refuses, what was acknowledged stays, what was not is not
// there, reads go on, and the store comes back by itself.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "3m")
	s := openAt(t, filepath.Join(dir, "errand.db"))
	register(t, s, 1)

	const callers = 8
	var mu sync.Mutex
	kept := make(map[string]bool) // acknowledged or not
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range 100 {
				given := testTask(1, c*1000+i)
				given.Params = strings.Repeat("x", 20_000)
				err := s.Put(t.Context(), []*errand.Task{given}, save)
				mu.Lock()
				kept[given.ID] = err == nil
				mu.Unlock()
				if err != nil {
					if e := errand.ErrorOf(err); e.Kind != errand.Unavailable || !strings.Contains(e.Msg, "disk") {
						t.Errorf("put on a full disk: %v", err)
					}
					return
				}
			}
			t.Error("the disk never was full")
		})
	}
	wg.Wait()
	wantKept := func() {
		t.Helper()
		n := 0
		for id, ok := range kept {
			_, err := s.Get(t.Context(), testProject, id)
			if ok != (err == nil) {
				t.Errorf("task %s: acknowledged %v, then %v", id, ok, err)
			}
			if ok {
				n++
			}
		}
		if got := total(t, s, 1); got != n || n == 0 {
			t.Errorf("total is %d, want the %d that were acknowledged", got, n)
		}
		checkCounts(t, s)
	}
	wantKept()

	// Ping says so for as long as the disk takes nothing. A reader keeps the
	// log from starting again, so that every write needs new space.
	err := s.snapshot(t.Context(), func(c *conn) error {
		if _, err := c.number(`SELECT count(*) FROM tasks`); err != nil {
			return err
		}
		big := testTask(1, 1_000_000)
		big.Params = strings.Repeat("x", 60_000)
		for range 1000 {
			if err := s.Put(t.Context(), []*errand.Task{big}, save); err == nil {
				kept[big.ID] = true
			}
			if err := s.Ping(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	wantUnavailable(t, err)
	wantUnavailable(t, s.Ping(t.Context()))

	remount(t, dir, "size=40m")
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping with space again: %v", err)
	}
	if s.w.stopped.Load() {
		t.Error("Ping would go on writing")
	}
	wantKept()
	again := testTask(1, 2_000_000)
	put(t, s, again)
	kept[again.ID] = true
	closeStore(t, s)
	s = openAt(t, filepath.Join(dir, "errand.db"))
	wantKept()
}

func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "64k")
	path := filepath.Join(dir, "errand.db")
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Fatalf("Open gives %v", err)
	}
	remount(t, dir, "size=4m")
	register(t, openAt(t, path), 1)
}

func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "4m")
	path := filepath.Join(dir, "errand.db")
	s := openAt(t, path)
	register(t, s, 1)
	closeStore(t, s)
	remount(t, dir, "ro")
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "cannot be written") || !errors.Is(err, fs.ErrInvalid) && !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Open on a read-only disk gives %v", err)
	}
	remount(t, dir, "rw")
	if got := total(t, openAt(t, path), 1); got != 0 {
		t.Errorf("total is %d", got)
	}
}

// Another program, such as the sqlite3 shell, may hold the file for a while.
func TestLockedByAnotherProgram(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	other, err := connect(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.exec(`BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	err = s.Put(t.Context(), []*errand.Task{testTask(1, 1)}, save)
	wantUnavailable(t, err)
	if e := errand.ErrorOf(err); !strings.Contains(e.Msg, "locked") {
		t.Errorf("message is %q", e.Msg)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, s, testTask(1, 1))
}

// Under writes without a pause the log must start again from the top now and
// then, instead of growing with all that was ever written.
func TestLogStaysShort(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2, 3)
	const text, most = 10_000, 20_000 // bytes of a task, and how many to try
	var mu sync.Mutex
	written, longest := int64(0), int64(0)
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range most / 4 {
				given := testTask(1+c%3, c*most+i)
				given.Params = strings.Repeat("x", text)
				put(t, s, given)
				info, err := os.Stat(s.path + "-wal")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				written += text
				longest = max(longest, info.Size())
				enough := written > 2*longest && written > 8<<20
				mu.Unlock()
				if enough {
					return
				}
			}
			t.Error("the log never started again")
		})
	}
	wg.Wait()
	t.Logf("the log was %d MB at the longest for at least %d MB written", longest>>20, written>>20)
}
