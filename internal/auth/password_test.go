package auth

import (
	"context"
	"strings"
	"testing"

	"github.com/errandhq/errand"
)

func TestPassword(t *testing.T) {
	t.Parallel()
	h, ctx := newHasher(), t.Context()
	stored, err := h.hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %s", stored)
	}
	if again, _ := h.hash(ctx, "correct horse"); again == stored {
		t.Error("two hashes of one password are alike")
	}
	// From the tests of the reference implementation of Argon2: another cost,
	// with a shorter salt.
	const foreign = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, tt := range []struct {
		stored, password string
		want             bool
	}{
		{stored, "correct horse", true}, {stored, "correct horsf", false}, {stored, "", false},
		{"", "", false}, {"", "correct horse", false}, {foreign, "password", true}, {foreign, "Password", false},
	} {
		if got, err := h.matches(ctx, tt.stored, tt.password); err != nil || got != tt.want {
			t.Errorf("matches(%q, %q) = %t, %v", tt.stored, tt.password, got, err)
		}
	}
}

func TestDamagedHash(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"x", "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=16$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=2,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$$", "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$!", "$argon2id$v=19$t=2$AAAA$AAAA",
	} {
		if _, err := newHasher().matches(t.Context(), s, "x"); err == nil || errand.ErrorOf(err).Kind != errand.Internal {
			t.Errorf("%s: %v, want an internal error", s, err)
		}
	}
}

func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	h := newHasher()
	for range cap(h.slots) { // everybody is busy
		h.slots <- struct{}{}
	}
	unavailable := func(what string, err error) {
		t.Helper()
		if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Unavailable {
			t.Errorf("%s: %v, want unavailable", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.hash(ctx, "password")
	unavailable("a caller who gave up", err)
	if n := h.waiting.Load(); n != 0 {
		t.Errorf("%d callers wait", n)
	}
	h.waiting.Store(maxHashWaiters)
	_, err = h.matches(t.Context(), "", "password")
	unavailable("one too many", err)
	if n := h.waiting.Load(); n != maxHashWaiters {
		t.Errorf("%d callers wait, want %d", n, maxHashWaiters)
	}
	h.waiting.Store(0)
	<-h.slots
	if _, err := h.hash(t.Context(), "password"); err != nil {
		t.Errorf("with a free slot: %v", err)
	}
}

func BenchmarkPassword(b *testing.B) {
	h := newHasher()
	for b.Loop() {
		if _, err := h.matches(b.Context(), "", "password"); err != nil {
			b.Fatal(err)
		}
	}
}
