package auth_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

func TestBootstrap(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	f := h.first
	if f.User.Name != "admin" || f.Project.Name != "cn-north-4" || !errand.ValidID(f.Project.ID) || len(f.Password) < 20 ||
		len(f.Key.Access) != 20 || len(f.Key.Secret) != 40 || f.Key.SecurityToken != "" || f.Key.Project != f.Project.ID {
		t.Errorf("first start made %+v", f)
	}
	if p, err := h.auth.Authenticate(h.signed(t, f.Key, "GET", "/", "")); err != nil || p != h.admin {
		t.Errorf("the first key: %+v, %v", p, err)
	}
	err := h.dir.Bootstrap(t.Context(), "cn-north-4", func(auth.First) error { t.Error("made a second way in"); return nil })
	if err != nil {
		t.Error(err)
	}
}

// A start that could not deliver the credentials leaves nothing that works, and
// the next start begins anew.
func TestBootstrapIsRepeatedUntilDelivered(t *testing.T) {
	t.Parallel()
	clock := &clock{at: start}
	store := openStore(t)
	sealer, err := auth.NewSealer(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := auth.OpenDirectory(t.Context(), store, sealer, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{clock: clock, dir: dir, auth: auth.NewAuthenticator(dir)}
	full := errors.New("disk full")
	var lost auth.First
	for range 2 {
		err = dir.Bootstrap(t.Context(), "one", func(f auth.First) error { lost = f; return full })
		if !errors.Is(err, full) {
			t.Fatalf("Bootstrap = %v, want deliver's error", err)
		}
		_, err = h.auth.Authenticate(h.signed(t, lost.Key, "GET", "/", ""))
		wantError(t, "the lost key", err, errand.Unauthenticated, "access_key")
	}
	var first auth.First
	if err := dir.Bootstrap(t.Context(), "one", func(f auth.First) error { first = f; return nil }); err != nil {
		t.Fatal(err)
	}
	if first.Project.ID != lost.Project.ID || first.User.ID != lost.User.ID {
		t.Errorf("a second project or user was made: %+v, %+v", lost, first)
	}
	if _, err := h.auth.Authenticate(h.signed(t, first.Key, "GET", "/", "")); err != nil {
		t.Errorf("the delivered key: %v", err)
	}
	_, err = h.auth.Authenticate(h.signed(t, lost.Key, "GET", "/", ""))
	wantError(t, "the lost key", err, errand.Unauthenticated, "access_key")
	if _, _, err := dir.PasswordToken(t.Context(), "admin", first.Password, auth.Scope{}); err != nil {
		t.Errorf("the delivered password: %v", err)
	}
}

func TestOnlyAdmins(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	for _, role := range []errand.Role{"", errand.Viewer, errand.Operator, errand.Worker} {
		p := h.admin
		p.Role = role
		ctx := t.Context()
		calls := map[string]func() error{
			"AddProject": func() error { _, err := h.dir.AddProject(ctx, p, "two", ""); return err },
			"Projects":   func() error { _, err := h.dir.Projects(ctx, p); return err },
			"AddUser":    func() error { _, err := h.dir.AddUser(ctx, p, auth.NewUser{Name: "x", Admin: true}); return err },
			"Users":      func() error { _, err := h.dir.Users(ctx, p); return err },
			"SetUser":    func() error { _, err := h.dir.SetUser(ctx, p, "admin", auth.UserChange{}); return err },
			"AddKey": func() error {
				_, err := h.dir.AddKey(ctx, p, auth.NewKey{User: "admin", Project: "cn-north-4"})
				return err
			},
			"Keys":      func() error { _, err := h.dir.Keys(ctx, p, "admin"); return err },
			"RevokeKey": func() error { return h.dir.RevokeKey(ctx, p, h.first.Key.Access) },
		}
		for name, call := range calls {
			wantError(t, name+" by "+string(role), call(), errand.Forbidden, "role")
		}
	}
	if _, err := h.auth.Authenticate(h.signed(t, h.first.Key, "GET", "/", "")); err != nil {
		t.Errorf("a refused call had an effect: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	for name, ok := range map[string]bool{
		"a": true, "cn-east-3_second project": true, "Zoë 中文": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, " a": false, "a ": false, "a\nb": false, "a\x00b": false, "a\x7f": false,
		"a/b": false, ".": false, "..": false, "a\u202eb": false, "a\u00a0b": false, "\xff": false,
	} {
		_, err := h.dir.AddProject(t.Context(), h.admin, name, "")
		_, uerr := h.dir.AddUser(t.Context(), h.admin, auth.NewUser{Name: name})
		if ok {
			if err != nil || uerr != nil {
				t.Errorf("%q: %v, %v", name, err, uerr)
			}
			continue
		}
		wantError(t, "project "+name, err, errand.Invalid, "name")
		wantError(t, "user "+name, uerr, errand.Invalid, "name")
	}
}

func TestProjects(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	const id = "5560df16-cebf-4473-95c4-d1b573c16e79"
	p, err := h.dir.AddProject(t.Context(), h.admin, "another", id)
	if err != nil || p.ID != id || !p.CreatedAt.Equal(start) {
		t.Errorf("AddProject = %+v, %v", p, err)
	}
	_, err = h.dir.AddProject(t.Context(), h.admin, "third", "NOT-AN-ID")
	wantError(t, "bad id", err, errand.Invalid, "project_id")
	_, err = h.dir.AddProject(t.Context(), h.admin, "another", "")
	wantError(t, "name taken", err, errand.Conflict, "project")
	_, err = h.dir.AddProject(t.Context(), h.admin, "fourth", id)
	wantError(t, "id taken", err, errand.Conflict, "project")
	all, err := h.dir.Projects(t.Context(), h.admin)
	if err != nil || len(all) != 2 || all[0].Name != "another" || all[1].Name != "cn-north-4" {
		t.Errorf("Projects = %+v, %v", all, err)
	}

	u := h.user(t, "reader", errand.Viewer)
	names := func(p errand.Principal) string {
		own, err := h.dir.OwnProjects(t.Context(), p)
		if err != nil {
			t.Error(err)
		}
		var s []string
		for _, p := range own {
			s = append(s, p.Name)
		}
		return strings.Join(s, " ")
	}
	reader := errand.Principal{User: errand.User{ID: u.ID}, Role: errand.Viewer}
	unbound := h.admin
	unbound.Project = ""
	for want, p := range map[string]errand.Principal{"another cn-north-4": unbound, "cn-north-4": reader} {
		if got := names(p); got != want {
			t.Errorf("own projects %q, want %q", got, want)
		}
	}
	if got := names(h.admin); got != "cn-north-4" {
		t.Errorf("a bound credential has projects %q", got)
	}
	reader.Project = id
	if got := names(reader); got != "" {
		t.Errorf("a project without a role: %q", got)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ctx, project := t.Context(), h.first.Project
	u, err := h.dir.AddUser(ctx, h.admin, auth.NewUser{Name: "ops", Password: "correct horse", Roles: map[string]errand.Role{project.Name: errand.Operator}})
	if err != nil || !errand.ValidID(u.ID) || u.Password != "" || u.Roles[project.ID] != errand.Operator {
		t.Fatalf("AddUser = %+v, %v", u, err)
	}
	users, err := h.dir.Users(ctx, h.admin)
	if err != nil || len(users) != 2 || users[0].Name != "admin" || users[1].Name != "ops" || users[0].Password+users[1].Password != "" {
		t.Errorf("Users = %+v, %v", users, err)
	}
	for what, tt := range map[string]struct {
		new     auth.NewUser
		kind    errand.Kind
		subject string
	}{
		"name taken":      {auth.NewUser{Name: "ops"}, errand.Conflict, "user"},
		"short password":  {auth.NewUser{Name: "x", Password: "1234567"}, errand.Invalid, "password"},
		"long password":   {auth.NewUser{Name: "x", Password: strings.Repeat("x", 1025)}, errand.Invalid, "password"},
		"unknown project": {auth.NewUser{Name: "x", Roles: map[string]errand.Role{"nowhere": errand.Viewer}}, errand.NotFound, "project"},
		"unknown role":    {auth.NewUser{Name: "x", Roles: map[string]errand.Role{project.ID: "boss"}}, errand.Invalid, "role"},
		"no role":         {auth.NewUser{Name: "x", Roles: map[string]errand.Role{project.ID: ""}}, errand.Invalid, "role"},
		"admin as a role": {auth.NewUser{Name: "x", Roles: map[string]errand.Role{project.ID: errand.Admin}}, errand.Invalid, "role"},
		"two roles":       {auth.NewUser{Name: "x", Roles: map[string]errand.Role{project.ID: errand.Viewer, project.Name: errand.Worker}}, errand.Invalid, "role"},
	} {
		_, err := h.dir.AddUser(ctx, h.admin, tt.new)
		wantError(t, what, err, tt.kind, tt.subject)
	}
	u, err = h.dir.SetUser(ctx, h.admin, "ops", auth.UserChange{Roles: map[string]errand.Role{project.ID: ""}})
	if err != nil || len(u.Roles) != 0 || u.Password != "" {
		t.Errorf("SetUser = %+v, %v", u, err)
	}
	if _, _, err := h.dir.PasswordToken(ctx, "ops", "correct horse", auth.Scope{}); err != nil {
		t.Errorf("the password is gone after another change: %v", err)
	}
	_, err = h.dir.SetUser(ctx, h.admin, "nobody", auth.UserChange{})
	wantError(t, "unknown user", err, errand.NotFound, "user")
}

func TestLastAdminStays(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	yes, no := true, false
	demote, disable := auth.UserChange{Admin: &no}, auth.UserChange{Disabled: &yes}
	set := func(name string, c auth.UserChange) error {
		_, err := h.dir.SetUser(t.Context(), h.admin, name, c)
		return err
	}
	wantError(t, "demote the only admin", set("admin", demote), errand.Conflict, "user")
	wantError(t, "disable the only admin", set("admin", disable), errand.Conflict, "user")
	if _, err := h.dir.AddUser(t.Context(), h.admin, auth.NewUser{Name: "second", Admin: true}); err != nil {
		t.Fatal(err)
	}
	if err := set("second", disable); err != nil {
		t.Error(err)
	}
	wantError(t, "a disabled admin does not count", set("admin", demote), errand.Conflict, "user")
	if err := set("second", auth.UserChange{Disabled: &no}); err != nil {
		t.Error(err)
	}

	// Two admins who remove each other at the same moment.
	var failed atomic.Int32
	var wg sync.WaitGroup
	for _, name := range []string{"admin", "second"} {
		wg.Go(func() {
			if set(name, demote) != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() != 1 {
		t.Errorf("%d of two were refused, want 1", failed.Load())
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.user(t, "ops", errand.Operator)
	h.user(t, "guest", "")
	ctx, project := t.Context(), h.first.Project.ID
	k, err := h.dir.AddKey(ctx, h.admin, auth.NewKey{User: "ops", Project: "cn-north-4", Note: "ci", Lifetime: time.Hour})
	if err != nil || k.User != "ops" || k.Project != project || len(k.SecurityToken) < 40 || !k.ExpiresAt.Equal(start.Add(time.Hour)) {
		t.Fatalf("AddKey = %+v, %v", k, err)
	}
	keys, err := h.dir.Keys(ctx, h.admin, "ops")
	if err != nil || len(keys) != 1 || keys[0].Access != k.Access || keys[0].Note != "ci" || keys[0].Secret != nil || keys[0].Token != nil {
		t.Errorf("Keys = %+v, %v", keys, err)
	}
	kept, err := h.store.Key(ctx, k.Access)
	if err != nil || strings.Contains(string(kept.Secret), k.Secret) || strings.Contains(string(kept.Token), k.SecurityToken) {
		t.Errorf("the store holds a secret in clear: %+v, %v", kept, err)
	}
	for what, tt := range map[string]struct {
		new     auth.NewKey
		kind    errand.Kind
		subject string
	}{
		"unknown user":    {auth.NewKey{User: "nobody", Project: project}, errand.NotFound, "user"},
		"unknown project": {auth.NewKey{User: "ops", Project: "nowhere"}, errand.NotFound, "project"},
		"no role there":   {auth.NewKey{User: "guest", Project: project}, errand.Invalid, "role"},
		"too short":       {auth.NewKey{User: "ops", Project: project, Lifetime: time.Second}, errand.Invalid, "lifetime"},
		"negative":        {auth.NewKey{User: "ops", Project: project, Lifetime: -time.Hour}, errand.Invalid, "lifetime"},
		"too long":        {auth.NewKey{User: "ops", Project: project, Lifetime: 1e6 * time.Hour}, errand.Invalid, "lifetime"},
		"long note":       {auth.NewKey{User: "ops", Project: project, Note: strings.Repeat("x", 257)}, errand.Invalid, "note"},
		"note of lines":   {auth.NewKey{User: "ops", Project: project, Note: "a\nb"}, errand.Invalid, "note"},
	} {
		_, err := h.dir.AddKey(ctx, h.admin, tt.new)
		wantError(t, what, err, tt.kind, tt.subject)
	}
	for range auth.MaxKeys - 1 {
		h.key(t, "ops", 0)
	}
	_, err = h.dir.AddKey(ctx, h.admin, auth.NewKey{User: "ops", Project: project})
	wantError(t, "one too many", err, errand.Conflict, "access_key")
	_, err = h.dir.Keys(ctx, h.admin, "nobody")
	wantError(t, "keys of nobody", err, errand.NotFound, "user")
	wantError(t, "revoke what is not", h.dir.RevokeKey(ctx, h.admin, "nothing"), errand.NotFound, "access_key")
}

func TestPasswordToken(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ctx, yes := t.Context(), true
	other, err := h.dir.AddProject(ctx, h.admin, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ops", "gone"} {
		n := auth.NewUser{Name: name, Password: "correct horse", Roles: map[string]errand.Role{h.first.Project.ID: errand.Operator}}
		if _, err := h.dir.AddUser(ctx, h.admin, n); err != nil {
			t.Fatal(err)
		}
	}
	h.user(t, "keysonly", errand.Viewer)
	if _, err := h.dir.SetUser(ctx, h.admin, "gone", auth.UserChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, name, password string
		scope                auth.Scope
		kind                 errand.Kind
		subject              string // "" for success
	}{
		{"right", "ops", "correct horse", auth.Scope{}, 0, ""},
		{"right, project by name", "ops", "correct horse", auth.Scope{ProjectName: "cn-north-4"}, 0, ""},
		{"right, project by id", "ops", "correct horse", auth.Scope{ProjectID: h.first.Project.ID}, 0, ""},
		{"wrong password", "ops", "correct horsf", auth.Scope{}, errand.Unauthenticated, "password"},
		{"empty password", "ops", "", auth.Scope{}, errand.Unauthenticated, "password"},
		{"huge password", "ops", strings.Repeat("x", 1<<20), auth.Scope{}, errand.Unauthenticated, "password"},
		{"unknown user", "nobody", "correct horse", auth.Scope{}, errand.Unauthenticated, "password"},
		{"no password set", "keysonly", "", auth.Scope{}, errand.Unauthenticated, "password"},
		{"disabled", "gone", "correct horse", auth.Scope{}, errand.Unauthenticated, "password"},
		{"a project without a role", "ops", "correct horse", auth.Scope{ProjectID: other.ID}, errand.Forbidden, "project"},
		{"no such project", "ops", "correct horse", auth.Scope{ProjectName: "nowhere"}, errand.Forbidden, "project"},
		{"a name for an id", "ops", "correct horse", auth.Scope{ProjectID: "cn-north-4"}, errand.Forbidden, "project"},
	} {
		token, s, err := h.dir.PasswordToken(ctx, tt.name, tt.password, tt.scope)
		if tt.subject != "" {
			wantError(t, tt.what, err, tt.kind, tt.subject)
			continue
		}
		if err != nil || !s.ExpiresAt.Equal(start.Add(24*time.Hour)) || s.Principal.User.Name != tt.name || (s.Project.ID == "") != (tt.scope == auth.Scope{}) {
			t.Errorf("%s: %+v, %v", tt.what, s, err)
		}
		if again, err := h.dir.Session(ctx, token); err != nil || again != s {
			t.Errorf("%s: Session = %+v, %v; want %+v", tt.what, again, err, s)
		}
	}
}

func TestRescope(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ctx := t.Context()
	token := h.tokenFor(t, auth.Scope{})
	h.move(time.Hour)
	scoped, s, err := h.dir.Rescope(ctx, token, auth.Scope{ProjectName: "cn-north-4"})
	if err != nil || s.Principal != h.admin || !s.ExpiresAt.Equal(start.Add(24*time.Hour)) || !s.IssuedAt.Equal(h.now()) || scoped == token {
		t.Errorf("Rescope = %+v, %v; a token must not live longer than the one it was made from", s, err)
	}
	_, _, err = h.dir.Rescope(ctx, "nonsense", auth.Scope{})
	wantError(t, "from a bad token", err, errand.Unauthenticated, "token")
	_, _, err = h.dir.Rescope(ctx, token, auth.Scope{ProjectName: "nowhere"})
	wantError(t, "to nowhere", err, errand.Forbidden, "project")
}

func TestNewPasswordEndsSessions(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ctx, yes, no := t.Context(), true, false
	n := auth.NewUser{Name: "ops", Password: "correct horse", Roles: map[string]errand.Role{"cn-north-4": errand.Operator}}
	if _, err := h.dir.AddUser(ctx, h.admin, n); err != nil {
		t.Fatal(err)
	}
	others := h.tokenFor(t, auth.Scope{})
	fresh := "battery staple"
	for what, tt := range map[string]struct {
		change []auth.UserChange
		ends   bool
	}{
		"a role":               {[]auth.UserChange{{Roles: map[string]errand.Role{"cn-north-4": errand.Viewer}}}, false},
		"a password":           {[]auth.UserChange{{Password: &fresh}, {Password: &n.Password}}, true},
		"disabled and enabled": {[]auth.UserChange{{Disabled: &yes}, {Disabled: &no}}, true},
	} {
		token, _, err := h.dir.PasswordToken(ctx, "ops", n.Password, auth.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range tt.change {
			if _, err := h.dir.SetUser(ctx, h.admin, "ops", c); err != nil {
				t.Fatal(err)
			}
		}
		_, err = h.dir.Session(ctx, token)
		if tt.ends {
			wantError(t, what, err, errand.Unauthenticated, "token")
		} else if err != nil {
			t.Errorf("%s ended a session: %v", what, err)
		}
	}
	if _, err := h.dir.Session(ctx, others); err != nil {
		t.Errorf("another user's session: %v", err)
	}
}

// A token of a user who loses the role in its project is refused for that, and
// honoured again with the role.
func TestTokenFollowsTheRole(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ctx, project := t.Context(), h.first.Project.ID
	n := auth.NewUser{Name: "ops", Password: "correct horse", Roles: map[string]errand.Role{project: errand.Operator}}
	if _, err := h.dir.AddUser(ctx, h.admin, n); err != nil {
		t.Fatal(err)
	}
	token, _, err := h.dir.PasswordToken(ctx, "ops", "correct horse", auth.Scope{ProjectID: project})
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []errand.Role{errand.Viewer, "", errand.Worker} {
		if _, err := h.dir.SetUser(ctx, h.admin, "ops", auth.UserChange{Roles: map[string]errand.Role{project: role}}); err != nil {
			t.Fatal(err)
		}
		p, err := h.auth.Authenticate(withToken(token))
		if role == "" {
			wantError(t, "without a role", err, errand.Forbidden, "role")
		} else if err != nil || p.Role != role {
			t.Errorf("role %q, %v; want %q", p.Role, err, role)
		}
	}
}

func TestMasterKeyBelongsToTheStore(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	for _, tt := range []struct {
		key string
		ok  bool
	}{{string(masterKey), true}, {strings.Repeat("x", 32), false}, {string(masterKey), true}} {
		sealer, err := auth.NewSealer([]byte(tt.key))
		if err != nil {
			t.Fatal(err)
		}
		_, err = auth.OpenDirectory(t.Context(), store, sealer, time.Now)
		if tt.ok && err != nil {
			t.Error(err)
		} else if !tt.ok {
			wantError(t, "another master key", err, errand.Invalid, "master_key")
		}
	}
}
