package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

func TestReopenKeepsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "errand.db")
	s := openAt(t, path)
	register(t, s, 1, 2)
	for n := range 50 {
		put(t, s, testTask(1+n%2, n))
	}
	key := auth.Key{Access: "AK", Secret: []byte{1, 0, 2}, UserID: "u", CreatedAt: noon}
	if err := s.AddKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	all := errand.Filter{Project: testProject, Limit: 1000}
	before, err := s.List(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	s = openAt(t, path)
	after, err := s.List(t.Context(), all)
	if err != nil || before.Total != 50 || !reflect.DeepEqual(before, after) {
		t.Errorf("after reopening, the page is %+v (%v), want %+v", after, err, before)
	}
	if got, err := s.Key(t.Context(), "AK"); err != nil || !reflect.DeepEqual(got, key) {
		t.Errorf("key is %+v, %v", got, err)
	}
	if i, err := s.Instance(t.Context(), testProject, instanceID(2)); err != nil || !reflect.DeepEqual(i, testInstance(2)) {
		t.Errorf("instance is %+v, %v", i, err)
	}
	checkCounts(t, s)
}

func TestOpenTakesTheFileForItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "errand.db")
	s := openAt(t, path)
	register(t, s, 1)
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link, dir + "/../" + filepath.Base(dir) + "/errand.db"} {
		if _, err := Open(name, Options{}); err == nil || !strings.Contains(err.Error(), "is in use by process ") {
			t.Errorf("second Open of %s: %v", name, err)
		}
	}
	if got := total(t, s, 1); got != 0 {
		t.Errorf("the first store has %d tasks after the others tried", got)
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode of errand.db%s is %o, want 600", suffix, mode)
		}
	}
	closeStore(t, s)
	openAt(t, link)
}

func TestOpenRefusesBadPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, why := range map[string]string{
		"":                                  "needs a path",
		dir:                                 "cannot be written",
		filepath.Join(dir, "no", "such.db"): "does not exist",
	} {
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Open(%q) gives %v, want %q", path, err, why)
		}
	}
}

// Open must say what is wrong with a file, leave it as it is, and let go of it.
func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	good := func(t *testing.T, path string) {
		s := openAt(t, path)
		register(t, s, 1)
		for n := range 100 {
			put(t, s, testTask(1, n))
		}
		closeStore(t, s)
	}
	run := func(t *testing.T, path, script string) {
		if f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		c, err := connect(path)
		if err == nil {
			err = c.script(script)
		}
		if err != nil || c.Close() != nil {
			t.Fatal(err)
		}
	}
	damage := func(t *testing.T, path string, from, to int) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := from; i < min(to, len(b)); i++ {
			b[i] = 0xa5
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		why     string
	}{
		"text": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("dear diary\n", 999)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is not an SQLite database"},
		"another program's": {func(t *testing.T, path string) {
			run(t, path, `CREATE TABLE migrations (version INTEGER PRIMARY KEY); CREATE TABLE bookmarks (url TEXT)`)
		}, "belongs to another program"},
		"damaged header": {func(t *testing.T, path string) {
			good(t, path)
			damage(t, path, 0, 100)
		}, "is not an SQLite database"},
		"damaged schema": {func(t *testing.T, path string) {
			good(t, path)
			damage(t, path, 100, 4096)
		}, "is damaged"},
		"newer schema": {func(t *testing.T, path string) {
			good(t, path)
			run(t, path, `INSERT INTO migrations VALUES (5, '0005_future.sql', 'x'), (6, '0006_future.sql', 'y')`)
		}, "has schema version 6, this program knows versions up to 4"},
		"changed migration": {func(t *testing.T, path string) {
			good(t, path)
			run(t, path, `UPDATE migrations SET checksum = 'x'`)
		}, "its migration 0001_initial.sql differs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "errand.db")
			c.prepare(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first attempt must not keep the lock
				_, err = Open(path, Options{})
				if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), path) {
					t.Fatalf("error is %v; want it to name the file and say %q", err, c.why)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file changed (%v)", err)
			}
		})
	}
}

func TestMigrationsGoForward(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "errand.db")
	s := openAt(t, path)
	register(t, s, 1)
	closeStore(t, s)

	files := fstest.MapFS{
		"0005_more.sql":   {Data: []byte(`CREATE TABLE more (n INTEGER); INSERT INTO more VALUES (7);`)},
		"0006_broken.sql": {Data: []byte(`INSERT INTO more VALUES (8); INSERT INTO nowhere VALUES (9);`)},
	}
	for _, name := range []string{"0001_initial.sql", "0002_running.sql", "0003_remote.sql", "0004_key_tokens.sql"} {
		text, err := migrations.ReadFile("migrations/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	if _, err := open(path, Options{}, files); err == nil || !strings.Contains(err.Error(), "0006_broken.sql") {
		t.Fatalf("a broken migration gives %v", err)
	}
	files["0006_broken.sql"].Data = []byte(`UPDATE more SET n = n + 1;`)
	for range 2 {
		s, err := open(path, Options{}, files)
		if err != nil {
			t.Fatal(err)
		}
		err = s.read(t.Context(), func(c *conn) error {
			sum, err := c.number(`SELECT sum(n) FROM more`)
			if sum != 8 {
				t.Errorf("sum is %d, want each migration to have run once and whole", sum)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		closeStore(t, s)
	}
	delete(files, "0005_more.sql")
	if _, err := open(path, Options{}, files); err == nil || !strings.Contains(err.Error(), "is not number 5") {
		t.Errorf("a gap in the migrations gives %v", err)
	}
}

func TestCallsAfterClose(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	closeStore(t, s)
	closeStore(t, s)
	wantUnavailable(t, s.Ping(t.Context()))
	wantUnavailable(t, s.Put(t.Context(), []*errand.Task{testTask(1, 1)}, save))
	_, err := s.List(t.Context(), errand.Filter{Project: testProject, Limit: 1})
	wantUnavailable(t, err)
	wantUnavailable(t, s.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")))
}
