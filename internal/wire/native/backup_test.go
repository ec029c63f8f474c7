package native_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/wire/native"
)

// leftovers returns what of backups is in the database's directory.
func (s *stack) leftovers(t *testing.T) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(s.dir, ".errand-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestBackup(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil)
	s.ask(t, "admin", "POST", "/api/v1/projects/"+projectID+"/instances", `{"id":"`+redisID+`","name":"r","engine":"redis"}`)
	// What a crash in the middle of a copy has left.
	if err := os.MkdirAll(filepath.Join(s.dir, ".errand-download-123", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/backup", nil)
	r.Header.Set("X-Auth-Token", "admin")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/vnd.sqlite3", "Content-Length": strconv.Itoa(len(data)),
		"Content-Disposition": `attachment; filename="errand-20260102T030405Z.db"`, "Cache-Control": "no-store",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if left := s.leftovers(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	copied, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if i, err := copied.Instance(t.Context(), projectID, redisID); err != nil || i.Name != "r" {
		t.Errorf("the copy holds instance %+v, %v", i, err)
	}
}

// backupFunc is a Backuper that does as a test wants.
type backupFunc func(ctx context.Context, path string) error

func (f backupFunc) Backup(ctx context.Context, path string) error { return f(ctx, path) }

func TestBackupFails(t *testing.T) {
	t.Parallel()
	s := newStack(t, backupFunc(func(_ context.Context, path string) error {
		if err := os.WriteFile(path, []byte("half a copy"), 0o600); err != nil {
			return err
		}
		return errors.New("disk " + path + " is broken")
	}))
	w := s.ask(t, "admin", "GET", "/api/v1/backup", "")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), s.dir) {
		t.Errorf("%d %s, want 500 and nothing internal", w.Code, w.Body)
	}
	if left := s.leftovers(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// TestNoBackup asks a server whose database has tools of its own for that.
func TestNoBackup(t *testing.T) {
	t.Parallel()
	s := newStack(t, backupFunc(func(context.Context, string) error {
		return errand.Errorf(errand.Conflict, "backup", "use pg_dump")
	}))
	w := s.ask(t, "admin", "GET", "/api/v1/backup", "")
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"subject":"backup"`) || !strings.Contains(w.Body.String(), "pg_dump") {
		t.Errorf("%d %s, want 409 about the backup", w.Code, w.Body)
	}
	if left := s.leftovers(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// TestBackupOneAtATime asks for a copy while another is being made, and again
// when it is done but not sent yet.
func TestBackupOneAtATime(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	s := newStack(t, backupFunc(func(_ context.Context, path string) error {
		select {
		case begun <- struct{}{}:
			<-finish
		default: // the second copy
		}
		return os.WriteFile(path, bytes.Repeat([]byte("x"), 1000), 0o600)
	}))
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- s.ask(t, "admin", "GET", "/api/v1/backup", "") }()
	<-begun
	if w := s.ask(t, "admin", "GET", "/api/v1/backup", ""); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("second copy: %d %s, want 503 with Retry-After", w.Code, w.Body)
	}
	close(finish)
	if w := <-first; w.Code != http.StatusOK || w.Body.Len() != 1000 {
		t.Errorf("first copy: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := s.ask(t, "admin", "GET", "/api/v1/backup", ""); w.Code != http.StatusOK || w.Body.Len() != 1000 {
		t.Errorf("copy after the first: %d, %d bytes", w.Code, w.Body.Len())
	}
	if left := s.leftovers(t); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

var _ native.Backuper = backupFunc(nil)
