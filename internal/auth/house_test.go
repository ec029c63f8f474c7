package auth_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/sqlite"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// countingStore counts the questions that authentication asks.
type countingStore struct {
	auth.Store
	asked atomic.Int64
}

func (s *countingStore) Key(ctx context.Context, access string) (auth.Key, error) {
	s.asked.Add(1)
	return s.Store.Key(ctx, access)
}

func (s *countingStore) User(ctx context.Context, id string) (auth.User, error) {
	s.asked.Add(1)
	return s.Store.User(ctx, id)
}

func (s *countingStore) Token(ctx context.Context, hash []byte) (auth.Token, error) {
	s.asked.Add(1)
	return s.Store.Token(ctx, hash)
}

// house is a directory after its first start, with its way in.
type house struct {
	*clock
	store *countingStore
	dir   *auth.Directory
	auth  *auth.Authenticator
	first auth.First
	admin errand.Principal
}

var masterKey = []byte("0123456789abcdef0123456789abcdef")

func openHouse(t testing.TB) *house {
	t.Helper()
	h := &house{clock: &clock{at: start}, store: &countingStore{Store: openStore(t)}}
	sealer, err := auth.NewSealer(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	if h.dir, err = auth.OpenDirectory(t.Context(), h.store, sealer, h.now); err != nil {
		t.Fatal(err)
	}
	err = h.dir.Bootstrap(t.Context(), "cn-north-4", func(f auth.First) error { h.first = f; return nil })
	if err != nil {
		t.Fatal(err)
	}
	h.auth = auth.NewAuthenticator(h.dir)
	h.admin = errand.Principal{
		User: errand.User{ID: h.first.User.ID, Name: "admin"}, Project: h.first.Project.ID, Role: errand.Admin,
	}
	return h
}

// user adds a user with a role in the first project.
func (h *house) user(t testing.TB, name string, role errand.Role) auth.User {
	t.Helper()
	n := auth.NewUser{Name: name}
	if role != "" {
		n.Roles = map[string]errand.Role{h.first.Project.ID: role}
	}
	u, err := h.dir.AddUser(t.Context(), h.admin, n)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// key adds an access key in the first project.
func (h *house) key(t testing.TB, user string, life time.Duration) auth.Credential {
	t.Helper()
	c, err := h.dir.AddKey(t.Context(), h.admin, auth.NewKey{User: user, Project: h.first.Project.ID, Lifetime: life})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantError checks the kind and subject of an error.
func wantError(t testing.TB, what string, err error, kind errand.Kind, subject string) {
	t.Helper()
	if e := errand.ErrorOf(err); e == nil || e.Kind != kind || e.Subject != subject || e.Msg == "" {
		t.Errorf("%s: %+v, want %s about %q", what, e, kind, subject)
	}
}

func openStore(t testing.TB) auth.Store {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "errand.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}
