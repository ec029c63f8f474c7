package auth_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// node returns another directory over the store of h, as another node has it.
func (h *house) node(t *testing.T, store auth.Store) *auth.Directory {
	t.Helper()
	sealer, err := auth.NewSealer(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := auth.OpenDirectory(t.Context(), store, sealer, h.now)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestNodesThatStartAtOnce(t *testing.T) {
	t.Parallel()
	h := &house{clock: &clock{at: start}}
	store := openStore(t)
	var firsts atomic.Int64
	var starting sync.WaitGroup
	for range 4 {
		dir := h.node(t, store)
		starting.Go(func() {
			err := dir.Bootstrap(t.Context(), "one", func(f auth.First) error {
				h.first = f
				firsts.Add(1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if firsts.Load() != 1 {
		t.Fatalf("%d nodes delivered a way in", firsts.Load())
	}
	h.auth = auth.NewAuthenticator(h.node(t, store))
	if _, err := h.auth.Authenticate(h.signed(t, h.first.Key, "GET", "/", "")); err != nil {
		t.Errorf("the key that was delivered: %v", err)
	}
}

// TestRulesHoldAcrossNodes changes on two nodes at once what may be changed on
// one of them only.
func TestRulesHoldAcrossNodes(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	nodes := []*auth.Directory{h.dir, h.node(t, h.store)}
	h.user(t, "b", errand.Operator)
	yes, no := true, false
	for range 10 {
		if _, err := h.dir.SetUser(t.Context(), h.admin, "b", auth.UserChange{Admin: &yes}); err != nil {
			t.Fatal(err)
		}
		var refused atomic.Int64
		var both sync.WaitGroup
		for i, name := range []string{"admin", "b"} {
			both.Go(func() {
				if _, err := nodes[i].SetUser(t.Context(), h.admin, name, auth.UserChange{Admin: &no}); err != nil {
					wantError(t, name, err, errand.Conflict, "user")
					refused.Add(1)
				}
			})
		}
		both.Wait()
		if refused.Load() != 1 {
			t.Fatalf("%d of the last two admins were refused to go", refused.Load())
		}
		if _, err := h.dir.SetUser(t.Context(), h.admin, "admin", auth.UserChange{Admin: &yes}); err != nil {
			t.Fatal(err)
		}
	}
	for range auth.MaxKeys - 1 {
		h.key(t, "b", 0)
	}
	var made atomic.Int64
	var keys sync.WaitGroup
	for i := range 6 {
		keys.Go(func() {
			_, err := nodes[i%2].AddKey(t.Context(), h.admin, auth.NewKey{User: "b", Project: h.first.Project.ID})
			if err == nil {
				made.Add(1)
			} else {
				wantError(t, "a key too many", err, errand.Conflict, "access_key")
			}
		})
	}
	keys.Wait()
	if made.Load() != 1 {
		t.Errorf("%d keys were made where there was room for one", made.Load())
	}
}

// lateStore does something before a token is added.
type lateStore struct {
	auth.Store
	before func()
}

func (s *lateStore) AddToken(ctx context.Context, t auth.Token, keep int) error {
	s.before()
	return s.Store.AddToken(ctx, t, keep)
}

// TestNewPasswordOnAnotherNode sets a new password on one node while another
// lets the old one in: that session must not outlive it.
func TestNewPasswordOnAnotherNode(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	late := &lateStore{Store: h.store, before: func() {}}
	other := h.node(t, late)
	if _, err := h.dir.AddUser(t.Context(), h.admin, auth.NewUser{Name: "b", Password: "the first one"}); err != nil {
		t.Fatal(err)
	}
	token, _, err := other.PasswordToken(t.Context(), "b", "the first one", auth.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	second := "the second one"
	late.before = sync.OnceFunc(func() {
		if _, err := h.dir.SetUser(t.Context(), h.admin, "b", auth.UserChange{Password: &second}); err != nil {
			t.Error(err)
		}
	})
	if token, _, err := other.PasswordToken(t.Context(), "b", "the first one", auth.Scope{}); err == nil {
		t.Errorf("the old password gave token %s", token)
	} else {
		wantError(t, "the old password", err, errand.Unauthenticated, "password")
	}
	// The other node remembers the session that the new password ended, but
	// makes no new one of it.
	_, _, err = other.Rescope(t.Context(), token, auth.Scope{})
	wantError(t, "a session that has ended", err, errand.Unauthenticated, "token")
	other.Forget()
	_, err = other.Session(t.Context(), token)
	wantError(t, "a session that was forgotten", err, errand.Unauthenticated, "token")
}
