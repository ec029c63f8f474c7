package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// RunAuth is Run for auth.Store.
func RunAuth(t *testing.T, open func(*testing.T) auth.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, auth.Store)
	}{
		{"projects are listed by name and taken once", authProjects},
		{"users are returned as added", authUsers},
		{"users are taken once by id and by name", authUserTaken},
		{"update of a user is all or nothing", authUpdateUser},
		{"updates of one user wait for each other", authUpdateAtOnce},
		{"keys are returned as added", authKeys},
		{"keys are deleted once", authDeleteKey},
		{"tokens are returned as added", authTokens},
		{"tokens are deleted once", authDeleteToken},
		{"tokens are dropped when they expired or are too many", authTokenLimits},
		{"check keeps the first value", authCheck},
		{"exclusive callers wait for each other", authExclusively},
		{"callers who have gone change nothing", authGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open(t))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func authProjects(t *testing.T, s auth.Store) {
	ctx := t.Context()
	if ps, err := s.Projects(ctx); err != nil || len(ps) != 0 {
		t.Fatalf("new store has projects %v, %v", ps, err)
	}
	b := auth.Project{ID: project, Name: "cn-north-4", CreatedAt: noon.In(time.FixedZone("east", 3600))}
	a := auth.Project{ID: otherProject, Name: "a é", CreatedAt: noon.Add(999)}
	must(t, s.AddProject(ctx, b))
	must(t, s.AddProject(ctx, a))
	wantError(t, s.AddProject(ctx, auth.Project{ID: project, Name: "new"}), errand.Conflict, "project")
	wantError(t, s.AddProject(ctx, auth.Project{ID: instanceID(1), Name: "a é"}), errand.Conflict, "project")
	a.CreatedAt, b.CreatedAt = noon, noon
	ps, err := s.Projects(ctx)
	must(t, err)
	same(t, "projects", ps, []auth.Project{a, b})
}

// user returns user n with every member set.
func user(n int) auth.User {
	return auth.User{
		ID: taskID(n), Name: fmt.Sprintf("üser-%d", n), Password: "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA", Admin: n%2 == 0, Disabled: n%3 == 0,
		Roles: map[string]errand.Role{project: errand.Viewer, otherProject: errand.Operator}, CreatedAt: noon,
	}
}

func authUsers(t *testing.T, s auth.Store) {
	ctx := t.Context()
	plain := auth.User{ID: taskID(9), Name: "a plain one", Roles: map[string]errand.Role{}, CreatedAt: noon}
	must(t, s.AddUser(ctx, user(3)))
	must(t, s.AddUser(ctx, plain))
	must(t, s.AddUser(ctx, user(2)))
	us, err := s.Users(ctx)
	must(t, err)
	if len(us) == 3 && len(us[0].Roles) == 0 {
		us[0].Roles = plain.Roles // nil and empty mean the same
	}
	same(t, "users", us, []auth.User{plain, user(2), user(3)})
	for _, n := range []int{2, 3} {
		byID, err := s.User(ctx, taskID(n))
		must(t, err)
		same(t, "user by id", byID, user(n))
		byName, err := s.UserByName(ctx, user(n).Name)
		must(t, err)
		same(t, "user by name", byName, user(n))
	}
	_, err = s.User(ctx, user(2).Name)
	wantError(t, err, errand.NotFound, "user")
	_, err = s.UserByName(ctx, taskID(2))
	wantError(t, err, errand.NotFound, "user")
}

func authUserTaken(t *testing.T, s auth.Store) {
	ctx := t.Context()
	must(t, s.AddUser(ctx, user(1)))
	sameName, sameID := user(2), user(1)
	sameName.Name, sameID.Name = user(1).Name, "another"
	sameName.Roles = map[string]errand.Role{project: errand.Admin}
	wantError(t, s.AddUser(ctx, sameName), errand.Conflict, "user")
	wantError(t, s.AddUser(ctx, sameID), errand.Conflict, "user")
	us, err := s.Users(ctx)
	must(t, err)
	same(t, "users", us, []auth.User{user(1)})
}

func authUpdateUser(t *testing.T, s auth.Store) {
	ctx := t.Context()
	must(t, s.AddUser(ctx, user(1)))
	must(t, s.AddUser(ctx, user(2)))
	want := user(1)
	want.Password, want.Admin, want.Disabled = "new", true, true
	want.Roles = map[string]errand.Role{otherProject: errand.Worker}
	must(t, s.UpdateUser(ctx, taskID(1), func(u *auth.User) error {
		same(t, "user to update", *u, user(1))
		*u = want
		u.ID, u.Name, u.CreatedAt = "other id", "other name", noon.Add(time.Hour) // these do not change
		return nil
	}))
	refused := errors.New("refused")
	err := s.UpdateUser(ctx, taskID(1), func(u *auth.User) error {
		u.Password, u.Roles = "lost", nil
		return refused
	})
	if err != refused { //nolint:errorlint // it must be the very error
		t.Errorf("error is %v, want fn's own", err)
	}
	got, err := s.User(ctx, taskID(1))
	must(t, err)
	same(t, "user", got, want)
	got, err = s.User(ctx, taskID(2))
	must(t, err)
	same(t, "the other user", got, user(2))
	err = s.UpdateUser(ctx, taskID(3), func(*auth.User) error {
		t.Error("fn was called without a user")
		return nil
	})
	wantError(t, err, errand.NotFound, "user")
}

func authUpdateAtOnce(t *testing.T, s auth.Store) {
	ctx := t.Context()
	u := user(1)
	u.Password = ""
	must(t, s.AddUser(ctx, u))
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			err := s.UpdateUser(ctx, taskID(1), func(u *auth.User) error {
				u.Password += "x"
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.User(ctx, taskID(1))
	must(t, err)
	if len(got.Password) != 30 {
		t.Errorf("%d of 30 updates were kept", len(got.Password))
	}
}

// key returns key n of user 1, temporary if n is odd.
func key(n int) auth.Key {
	k := auth.Key{
		Access: fmt.Sprintf("AK%018d", n), Secret: []byte{0, 1, 0xff, byte(n)}, UserID: taskID(1), Project: project,
		CreatedAt: noon, Note: "for n\u00f6body\n",
	}
	if n%2 == 1 {
		k.Token, k.ExpiresAt = []byte{0, 2, byte(n)}, noon.Add(time.Hour)
	}
	return k
}

func authKeys(t *testing.T, s auth.Store) {
	ctx := t.Context()
	theirs := key(3)
	theirs.UserID = taskID(2)
	for _, k := range []auth.Key{key(2), theirs, key(1)} {
		must(t, s.AddKey(ctx, k))
		got, err := s.Key(ctx, k.Access)
		must(t, err)
		same(t, "key", got, k)
	}
	again := key(2)
	again.Secret = []byte("other")
	wantError(t, s.AddKey(ctx, again), errand.Conflict, "access_key")
	ks, err := s.Keys(ctx, taskID(1))
	must(t, err)
	same(t, "keys", ks, []auth.Key{key(1), key(2)})
	if ks, err := s.Keys(ctx, taskID(7)); err != nil || len(ks) != 0 {
		t.Errorf("keys of nobody: %v, %v", ks, err)
	}
	_, err = s.Key(ctx, key(9).Access)
	wantError(t, err, errand.NotFound, "access_key")
}

func authDeleteKey(t *testing.T, s auth.Store) {
	ctx := t.Context()
	must(t, s.AddKey(ctx, key(1)))
	must(t, s.AddKey(ctx, key(2)))
	must(t, s.DeleteKey(ctx, key(1).Access))
	wantError(t, s.DeleteKey(ctx, key(1).Access), errand.NotFound, "access_key")
	_, err := s.Key(ctx, key(1).Access)
	wantError(t, err, errand.NotFound, "access_key")
	ks, err := s.Keys(ctx, taskID(1))
	must(t, err)
	same(t, "keys", ks, []auth.Key{key(2)})
}

// token returns token n of user 1: made n seconds after noon, good for an hour.
func token(n int) auth.Token {
	made := noon.Add(time.Duration(n) * time.Second)
	return auth.Token{Hash: []byte{0, byte(n)}, UserID: taskID(1), Project: project, CreatedAt: made, ExpiresAt: made.Add(time.Hour)}
}

func authTokens(t *testing.T, s auth.Store) {
	ctx := t.Context()
	unscoped, keys := token(2), token(3)
	unscoped.Project, keys.Access = "", key(1).Access
	for _, want := range []auth.Token{token(1), unscoped, keys} {
		must(t, s.AddToken(ctx, want, 10))
		got, err := s.Token(ctx, want.Hash)
		must(t, err)
		same(t, "token", got, want)
	}
	wantError(t, s.AddToken(ctx, token(1), 10), errand.Conflict, "token")
	_, err := s.Token(ctx, []byte("nothing like it"))
	wantError(t, err, errand.NotFound, "token")
}

func authDeleteToken(t *testing.T, s auth.Store) {
	ctx := t.Context()
	must(t, s.AddToken(ctx, token(1), 10))
	must(t, s.AddToken(ctx, token(2), 10))
	must(t, s.DeleteToken(ctx, token(1).Hash))
	wantError(t, s.DeleteToken(ctx, token(1).Hash), errand.NotFound, "token")
	_, err := s.Token(ctx, token(1).Hash)
	wantError(t, err, errand.NotFound, "token")
	got, err := s.Token(ctx, token(2).Hash)
	must(t, err)
	same(t, "token", got, token(2))
}

func authTokenLimits(t *testing.T, s auth.Store) {
	ctx := t.Context()
	kept := func() (ns []int) {
		for n := range 10 {
			if _, err := s.Token(ctx, token(n).Hash); err == nil {
				ns = append(ns, n)
			} else {
				wantError(t, err, errand.NotFound, "token")
			}
		}
		return ns
	}
	want := func(ns ...int) {
		t.Helper()
		if got := kept(); !slices.Equal(got, ns) {
			t.Errorf("tokens %v are kept, want %v", got, ns)
		}
	}
	theirs := token(0)
	theirs.UserID = taskID(2)
	must(t, s.AddToken(ctx, theirs, 3))
	for n := 1; n <= 5; n++ {
		must(t, s.AddToken(ctx, token(n), 3))
	}
	want(0, 3, 4, 5) // three of user 1, and what is not theirs
	old := token(6)
	old.CreatedAt = noon.Add(-time.Minute)
	must(t, s.AddToken(ctx, old, 3))
	want(0, 4, 5, 6) // who has just been given a token can use it

	late := token(7)
	late.CreatedAt = token(4).ExpiresAt.Add(time.Microsecond)
	late.ExpiresAt = late.CreatedAt.Add(time.Hour)
	must(t, s.AddToken(ctx, late, 3))
	want(5, 6, 7) // 0 and 4 had expired
}

func authCheck(t *testing.T, s auth.Store) {
	ctx := t.Context()
	for _, c := range []struct{ name, value, want string }{
		{"key", "\x00first", "\x00first"}, {"key", "second", "\x00first"}, {"other", "", ""}, {"other", "third", ""}, {"key", "", "\x00first"},
	} {
		got, err := s.Check(ctx, c.name, []byte(c.value))
		must(t, err)
		if string(got) != c.want {
			t.Errorf("check %s with %q gives %q, want %q", c.name, c.value, got, c.want)
		}
	}
}

func authExclusively(t *testing.T, s auth.Store) {
	ctx := t.Context()
	boom := errors.New("boom")
	err := s.Exclusively(ctx, func(ctx context.Context) error {
		if err := s.AddUser(ctx, user(1)); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("Exclusively = %v, want fn's own error", err)
	}
	if _, err := s.User(ctx, taskID(1)); err != nil {
		t.Errorf("what fn did before it failed: %v", err)
	}
	const callers = 8
	inside, most := 0, 0 // the race detector watches over these, too
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			err := s.Exclusively(ctx, func(ctx context.Context) error {
				inside++
				defer func() { inside-- }()
				most = max(most, inside)
				k := key(2 * most)
				keys, err := s.Keys(ctx, k.UserID)
				if err != nil {
					return err
				}
				k.Access = fmt.Sprintf("AK%018d", len(keys)) // taken, if another is inside
				return s.AddKey(ctx, k)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keys, err := s.Keys(ctx, taskID(1))
	must(t, err)
	if most != 1 || len(keys) != callers {
		t.Errorf("%d were inside at a time, and %d keys are there; want 1 and %d", most, len(keys), callers)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	err = s.Exclusively(gone, func(context.Context) error { t.Error("runs for a caller who has gone"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Exclusively for a caller who has gone: %v", err)
	}
}

func authGone(t *testing.T, s auth.Store) {
	ctx := ended(t)
	must(t, s.AddUser(t.Context(), user(1)))
	for name, call := range map[string]func() error{
		"AddProject": func() error { return s.AddProject(ctx, auth.Project{ID: project, Name: "p"}) },
		"AddUser":    func() error { return s.AddUser(ctx, user(2)) },
		"UpdateUser": func() error { return s.UpdateUser(ctx, taskID(1), func(u *auth.User) error { return nil }) },
		"AddKey":     func() error { return s.AddKey(ctx, key(1)) },
		"AddToken":   func() error { return s.AddToken(ctx, token(1), 3) },
		"User":       func() error { _, err := s.User(ctx, taskID(1)); return err },
		"Key":        func() error { _, err := s.Key(ctx, key(1).Access); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that ended gives %v", name, err)
		}
	}
	us, err := s.Users(t.Context())
	must(t, err)
	same(t, "users", us, []auth.User{user(1)})
}
