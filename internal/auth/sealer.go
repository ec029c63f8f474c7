package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/errandhq/errand"
)

// MasterKeySize is the length of a master key in bytes (AES-256).
const MasterKeySize = 32

// sealVersion begins what Seal returns, so that another cipher can follow.
const sealVersion = 1

// Sealer encrypts what must not lie in the database in clear, with AES-256-GCM
// under the master key. The secrets of access keys cannot be hashed, because
// checking a signature takes the secret itself.
type Sealer struct {
	aead        cipher.AEAD
	fingerprint []byte // tells master keys apart without giving them away
	digestKey   []byte

	// made is the key file, if OpenSealer has just made it. It is taken away
	// again if the store is tied to another key: a second key beside the right
	// one would only mislead.
	made string
}

// NewSealer returns a Sealer under a master key of MasterKeySize bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != MasterKeySize {
		return nil, errand.Errorf(errand.Invalid, "master_key", "the master key must have %d bytes, not %d", MasterKeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead: aead, fingerprint: derive(key, "errand: which master key"), digestKey: derive(key, "errand: digests")}, nil
}

func derive(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

// Digest returns a digest of text that only who holds the master key can
// compute: it tells texts apart and does not let their secrets be guessed.
func (s *Sealer) Digest(text string) string {
	return hex.EncodeToString(derive(s.digestKey, text))
}

// OpenSealer returns a Sealer under the key in master, which is the base64 of
// MasterKeySize bytes, or where that is empty under the key in file. A file that
// does not exist is made, with a random key and readable by its owner only.
func OpenSealer(master, file string) (*Sealer, error) {
	if master != "" {
		key, err := decodeMasterKey(master)
		if err != nil {
			return nil, errand.Errorf(errand.Invalid, "master_key", "ERRAND_MASTER_KEY %s", err)
		}
		return NewSealer(key)
	}
	key, err := readKeyFile(file)
	made := ""
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKeyFile(file); err == nil {
			made = file
		}
		if err == nil || errors.Is(err, fs.ErrExist) {
			key, err = readKeyFile(file)
		}
	}
	if err != nil {
		if e, ok := errors.AsType[*errand.Error](err); ok {
			return nil, e
		}
		return nil, errand.Errorf(errand.Invalid, "master_key", "key file %s: %s", file, err)
	}
	s, err := NewSealer(key)
	if err == nil {
		s.made = made
	}
	return s, err
}

// decodeMasterKey reads a key's text. Its errors never quote it.
func decodeMasterKey(text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("is not base64; make one with: head -c 32 /dev/urandom | base64")
	}
	if len(key) != MasterKeySize {
		return nil, errand.Errorf(errand.Invalid, "master_key", "must be the base64 of %d bytes, not of %d", MasterKeySize, len(key))
	}
	return key, nil
}

func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, errors.New("is not a regular file")
	case mode.Perm()&0o077 != 0:
		return nil, errand.Errorf(errand.Invalid, "master_key",
			"key file %s has mode %04o, so that others can read or change it; run: chmod 600 %s", name, mode.Perm(), name)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return nil, err
	}
	key, err := decodeMasterKey(string(text))
	if err != nil {
		return nil, errand.Errorf(errand.Invalid, "master_key", "key file %s %s", name, err)
	}
	return key, nil
}

// makeKeyFile writes a new key. The file appears with its whole content or not
// at all, and never in place of another.
func makeKeyFile(name string) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".errand-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	key := make([]byte, MasterKeySize)
	_, _ = rand.Read(key) // never fails
	if _, err := f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Seal encrypts plain. what names the thing that is sealed, such as "secret of
// AK": Open must be told the same, so that a sealed value cannot be moved to
// another place of the database.
func (s *Sealer) Seal(what string, plain []byte) []byte {
	out := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	out[0] = sealVersion
	nonce := out[1:]
	_, _ = rand.Read(nonce) // never fails
	return s.aead.Seal(out, nonce, plain, []byte(what))
}

// Open decrypts what Seal returned. An error is Internal: the database is
// damaged, or was changed by somebody without the key.
func (s *Sealer) Open(what string, sealed []byte) ([]byte, error) {
	n := 1 + s.aead.NonceSize()
	if len(sealed) < n || sealed[0] != sealVersion {
		return nil, errand.Errorf(errand.Internal, "master_key", "the %s is not in a sealed form that this version knows", what)
	}
	plain, err := s.aead.Open(nil, sealed[1:n], sealed[n:], []byte(what))
	if err != nil {
		return nil, errand.Errorf(errand.Internal, "master_key", "the %s cannot be unsealed", what).WithCause(err)
	}
	return plain, nil
}

// check ties store to the master key, or reports that it is tied to another.
func (s *Sealer) check(ctx context.Context, store Store) error {
	kept, err := store.Check(ctx, "master_key", s.fingerprint)
	if err != nil || hmac.Equal(kept, s.fingerprint) {
		return err // after an error the store may be tied to this key
	}
	const advice = "start with the key file or ERRAND_MASTER_KEY that belongs to it; where several nodes share a database, copy it from another node"
	if s.made == "" {
		return errand.Errorf(errand.Invalid, "master_key", "this database was made with another master key; %s", advice)
	}
	return errand.Errorf(errand.Invalid, "master_key", "there is no key file %s, and this database was made with a master key already; %s", s.made, advice).
		WithCause(os.Remove(s.made))
}
