package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

func TestSealer(t *testing.T) {
	t.Parallel()
	s, err := NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSealer(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{"", "secret", strings.Repeat("x", 10_000)} {
		sealed := s.Seal("secret of A", []byte(plain))
		if bytes.Equal(sealed, s.Seal("secret of A", []byte(plain))) {
			t.Error("sealed alike twice")
		}
		got, err := s.Open("secret of A", sealed)
		if err != nil || string(got) != plain {
			t.Fatalf("Open = %q, %v", got, err)
		}
		refuse := func(what string, s *Sealer, of string, sealed []byte) {
			t.Helper()
			if _, err := s.Open(of, sealed); err == nil || errand.ErrorOf(err).Kind != errand.Internal {
				t.Errorf("%s: %v, want an internal error", what, err)
			}
		}
		refuse("another thing", s, "secret of B", sealed)
		refuse("another key", other, "secret of A", sealed)
		for _, i := range []int{0, 1, 12, len(sealed) - 1} {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1
			refuse("a changed byte", s, "secret of A", bad)
		}
		for _, n := range []int{0, 1, 12, 13, len(sealed) - 1} {
			refuse("cut short", s, "secret of A", sealed[:n])
		}
	}
}

func TestOpenSealerKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "errand.key")
	first, err := OpenSealer("", file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new key file: %v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left beside the key file: %v", left)
	}
	second, err := OpenSealer("", file)
	if err != nil || !bytes.Equal(first.fingerprint, second.fingerprint) {
		t.Errorf("the same file gives another key: %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	third, err := OpenSealer(string(text), filepath.Join(dir, "not made"))
	if err != nil || !bytes.Equal(first.fingerprint, third.fingerprint) {
		t.Errorf("the same key from the environment: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "not made")); err == nil {
		t.Error("a key file was made beside a key from the environment")
	}
}

// checkStore is tied to a key, or to none yet, or cannot say.
type checkStore struct {
	Store
	kept []byte
	err  error
}

func (s *checkStore) Check(_ context.Context, _ string, value []byte) ([]byte, error) {
	if s.kept == nil {
		s.kept = value
	}
	return s.kept, s.err
}

// TestKeyFileMadeForNothing opens databases without a key file.
func TestKeyFileMadeForNothing(t *testing.T) {
	t.Parallel()
	lost := errand.Errorf(errand.Unavailable, "outcome", "the connection was lost")
	for _, tt := range []struct {
		name  string
		store checkStore
		kind  errand.Kind
		stays bool
	}{
		{"a new database", checkStore{}, 0, true},
		{"the database of another key", checkStore{kept: []byte("another")}, errand.Invalid, false},
		{"a database that may have been tied to the new key", checkStore{err: lost}, errand.Unavailable, true},
	} {
		file := filepath.Join(t.TempDir(), "errand.key")
		s, err := OpenSealer("", file)
		if err != nil {
			t.Fatal(err)
		}
		err = s.check(t.Context(), &tt.store)
		if e := errand.ErrorOf(err); (err != nil) != (tt.kind != 0) || err != nil && e.Kind != tt.kind {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err := os.Stat(file); (err == nil) != tt.stays {
			t.Errorf("%s: the key file: %v", tt.name, err)
		}
	}
	// A file that was there before stays.
	file := filepath.Join(t.TempDir(), "errand.key")
	for range 2 {
		s, err := OpenSealer("", file)
		if err == nil && s.made == "" {
			err = s.check(t.Context(), &checkStore{kept: []byte("another")})
			if e := errand.ErrorOf(err); e.Kind != errand.Invalid || !strings.Contains(e.Msg, "another node") {
				t.Errorf("another key: %v", err)
			}
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestOpenSealerRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := base64.StdEncoding.EncodeToString(make([]byte, 32))
	write := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct{ what, master, file, say string }{
		{"environment not base64", "***", "", "ERRAND_MASTER_KEY is not base64"},
		{"environment too short", "AAAA", "", "must be the base64 of 32 bytes, not of 3"},
		{"readable by the group", "", write("group", good, 0o640), "chmod 600"},
		{"readable by others", "", write("others", good, 0o604), "chmod 600"},
		{"empty file", "", write("empty", "", 0o600), "must be the base64 of 32 bytes, not of 0"},
		{"too long", "", write("long", base64.StdEncoding.EncodeToString(make([]byte, 33)), 0o600), "not of 33"},
		{"not base64", "", write("text", "a key", 0o600), "is not base64"},
		{"a directory", "", dir, "not a regular file"},
		{"nowhere to make it", "", filepath.Join(dir, "no", "such", "key"), "no such file"},
	} {
		_, err := OpenSealer(tt.master, tt.file)
		if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Invalid || e.Subject != "master_key" || !strings.Contains(e.Msg, tt.say) {
			t.Errorf("%s: %+v does not say %q", tt.what, e, tt.say)
		} else if tt.master != "" && strings.Contains(e.Msg, tt.master) {
			t.Errorf("%s: %q shows the key", tt.what, e.Msg)
		}
	}
	if _, err := NewSealer(make([]byte, 16)); err == nil {
		t.Error("a key of 16 bytes was taken")
	}
}
