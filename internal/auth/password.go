package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"github.com/errandhq/errand"
)

// The cost of a password hash: OWASP's second choice for argon2id. Memory is in
// KiB.
const (
	argonMemory  = 19456
	argonTime    = 2
	argonThreads = 1
	saltLen      = 16
	hashLen      = 32
)

// maxHashWaiters bounds how many callers wait for their turn to hash.
const maxHashWaiters = 64

// hasher hashes and checks passwords, a few at a time: each takes 19 MiB and
// some 25 ms of a processor, which is also what slows down guessing.
type hasher struct {
	slots   chan struct{}
	waiting atomic.Int32
}

func newHasher() *hasher {
	return &hasher{slots: make(chan struct{}, min(4, max(1, runtime.GOMAXPROCS(0)/2)))}
}

// turn waits for a slot. Errors: Unavailable.
func (h *hasher) turn(ctx context.Context) (done func(), err error) {
	if h.waiting.Add(1) > maxHashWaiters {
		h.waiting.Add(-1)
		return nil, errand.Errorf(errand.Unavailable, "password", "too many passwords are being checked; try again later")
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, errand.Errorf(errand.Unavailable, "password", "the request ended while it waited for its password to be checked").WithCause(ctx.Err())
	}
}

// hash returns the PHC string of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails
	sum := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, hashLen)
	return phc(salt, sum), nil
}

// matches reports whether password is the one that was hashed. It takes the
// same time where stored is "", so that nobody learns which users exist; nothing
// matches "".
func (h *hasher) matches(ctx context.Context, stored, password string) (bool, error) {
	known := stored != ""
	if !known {
		stored = phc(make([]byte, saltLen), make([]byte, hashLen))
	}
	p, err := parsePHC(stored)
	if err != nil {
		return false, err
	}
	done, err := h.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	sum := argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.sum)))
	return subtle.ConstantTimeCompare(sum, p.sum) == 1 && known, nil
}

// phc writes a hash of today's cost as a PHC string, as argon2's own tools do.
func phc(salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// parsed is a PHC string taken apart.
type parsed struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

// parsePHC reads a PHC string of any sane cost, so that the cost may be raised
// without making old passwords invalid.
func parsePHC(s string) (parsed, error) {
	var p parsed
	bad := errand.Errorf(errand.Internal, "password", "a stored password hash is damaged")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return p, bad
	}
	_, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads)
	if err == nil {
		p.salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	}
	if err == nil {
		p.sum, err = base64.RawStdEncoding.DecodeString(parts[5])
	}
	sane := p.memory >= 8 && p.memory <= 1<<20 && p.time >= 1 && p.time <= 64 &&
		p.threads >= 1 && len(p.salt) >= 8 && len(p.sum) >= 16 && len(p.sum) <= 64
	if err != nil || !sane {
		return p, bad.WithCause(err)
	}
	return p, nil
}
