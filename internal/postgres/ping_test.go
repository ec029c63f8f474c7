package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

// TestPingSchema takes a table away: who needs it is told, and so is who asks
// whether the node is ready, until it is there again.
func TestPingSchema(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	db := newDatabase(t)
	s := openAt(t, srv.URL(db))
	register(t, s, 1)
	f := errand.Filter{Project: testProject, Instance: instanceID(1), Limit: 10}
	srv.Exec(t, db, "ALTER TABLE tasks RENAME TO gone")
	_, err := s.List(t.Context(), f)
	wantUnavailable(t, err)
	wantUnavailable(t, s.Ping(t.Context()))
	srv.Exec(t, db, "ALTER TABLE gone RENAME TO tasks")
	if _, err := s.List(t.Context(), f); err != nil {
		t.Error(err)
	}
	s.target.trouble.mu.Lock()
	s.target.trouble.at = time.Now().Add(-troubleFor - time.Second)
	s.target.trouble.mu.Unlock()
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("once the table is back: %v", err)
	}
}

// TestPingFullDisk fills the disk of a database: small writes into pages that are
// there still succeed, and the node is not ready all the same.
func TestPingFullDisk(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small file system takes the right to mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	for d := dir; d != "/" && d != os.TempDir(); d = d[:strings.LastIndexByte(d, '/')] { // the server is another user
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	space := "small_" + fmt.Sprint(time.Now().UnixNano())
	if err := srv.Own(dir); err != nil {
		t.Fatal(err)
	}
	srv.Exec(t, "postgres", "CREATE TABLESPACE "+space+" LOCATION '"+dir+"'")
	db := srv.Database(t, "")
	srv.Exec(t, "postgres", "ALTER DATABASE "+db+" SET TABLESPACE "+space)
	t.Cleanup(func() { srv.Exec(t, "postgres", "DROP DATABASE "+db+" WITH (FORCE)", "DROP TABLESPACE "+space) })
	s := openAt(t, srv.URL(db))
	register(t, s, 1)
	junk := filepath.Join(dir, "junk")
	_ = os.WriteFile(junk, make([]byte, 64<<20), 0o600) // as much as fits
	var err error
	for n := 1; err == nil && n < 10_000; n++ {
		x := testTask(1, n)
		x.Params = strings.Repeat(fmt.Sprintf("%032x", n*7919), 600)
		err = s.Put(t.Context(), []*errand.Task{x}, save)
	}
	wantUnavailable(t, err)
	for range 3 {
		wantUnavailable(t, s.Ping(t.Context()))
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return s.Ping(t.Context()) == nil })
	if err := s.Put(t.Context(), []*errand.Task{testTask(1, 20_000)}, save); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}
