package stored

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Migration is one step of a schema. Steps go forward only, and one that has
// been released never changes.
type Migration struct {
	Version  int64
	Name     string
	Text     string
	Checksum string // SHA-256 of Text, in hexadecimal digits
}

// ReadMigrations reads NNNN_name.sql files, which must be numbered from 1.
func ReadMigrations(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var all []Migration
	for i, name := range names { // in the order of their names
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i+1) {
			return nil, fmt.Errorf("migration %s is not number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		all = append(all, Migration{version, name, string(text), hex.EncodeToString(sum[:])})
	}
	return all, nil
}

// Pending returns the steps that are still to be taken where those with the
// checksums done were taken. It refuses a schema that is newer than steps, or
// was made of others.
func Pending(steps []Migration, done []string) ([]Migration, error) {
	if len(done) > len(steps) {
		return nil, fmt.Errorf("has schema version %d, this program knows versions up to %d; use the version of errand that wrote it, or a newer one", len(done), len(steps))
	}
	for i := range done {
		if done[i] != steps[i].Checksum {
			return nil, fmt.Errorf("was made by another build: its migration %s differs from the one in this program; use the build that wrote it", steps[i].Name)
		}
	}
	return steps[len(done):], nil
}
