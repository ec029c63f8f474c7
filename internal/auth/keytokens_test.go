package auth_test

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// keyToken makes a token with a credential that is good.
func (h *house) keyToken(t testing.TB, c auth.Credential) (string, auth.Session) {
	t.Helper()
	token, s, err := h.dir.KeyToken(t.Context(), c.Access, c.Secret, c.SecurityToken)
	if err != nil {
		t.Fatal(err)
	}
	return token, s
}

func TestKeyToken(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	u := h.user(t, "ops", errand.Operator)
	want := errand.Principal{User: errand.User{ID: u.ID, Name: "ops"}, Project: h.first.Project.ID, Role: errand.Operator}
	for what, c := range map[string]struct {
		life, ends time.Duration
	}{
		"a permanent key":   {0, 24 * time.Hour},
		"a short key":       {time.Hour, time.Hour},
		"a key of 48 hours": {48 * time.Hour, 24 * time.Hour},
	} {
		k := h.key(t, "ops", c.life)
		token, s := h.keyToken(t, k)
		if s.Principal != want || s.Access != k.Access || s.Project.ID != want.Project || !s.ExpiresAt.Equal(start.Add(c.ends)) || !s.IssuedAt.Equal(start) {
			t.Errorf("%s: %+v", what, s)
		}
		again, err := h.dir.Session(t.Context(), token)
		if err != nil || again != s {
			t.Errorf("%s: Session = %+v, %v; want %+v", what, again, err, s)
		}
		own, err := h.dir.OwnProjects(t.Context(), again.Principal)
		if err != nil || len(own) != 1 || own[0].ID != want.Project {
			t.Errorf("%s: own projects are %+v, %v", what, own, err)
		}
	}
	h.move(time.Hour)
	short := h.key(t, "ops", time.Hour)
	token, _ := h.keyToken(t, short)
	h.move(time.Hour)
	_, err := h.dir.Session(t.Context(), token)
	wantError(t, "a token of an expired key", err, errand.Unauthenticated, "token_expired")
}

// Whatever is wrong with a key, the answer is the same.
func TestKeyTokenRefused(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.user(t, "ops", errand.Operator)
	h.user(t, "gone", errand.Viewer)
	good, temporary, brief, gone := h.key(t, "ops", 0), h.key(t, "ops", time.Hour), h.key(t, "ops", time.Minute), h.key(t, "gone", 0)
	revoked := h.key(t, "ops", 0)
	if err := h.dir.RevokeKey(t.Context(), h.admin, revoked.Access); err != nil {
		t.Fatal(err)
	}
	yes := true
	if _, err := h.dir.SetUser(t.Context(), h.admin, "gone", auth.UserChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	h.move(2 * time.Minute)
	var text string
	for what, c := range map[string]auth.Credential{
		"nothing":                  {},
		"no key":                   {Access: "AK", Secret: good.Secret},
		"no text":                  {Access: "\xff2345678901234567890"[:20], Secret: good.Secret},
		"an unknown key":           {Access: "ABCDEFGHIJKLMNOPQRST", Secret: good.Secret},
		"an unknown empty one":     {Access: "ABCDEFGHIJKLMNOPQRST"},
		"a wrong secret":           {Access: good.Access, Secret: temporary.Secret},
		"no secret":                {Access: good.Access},
		"no security token":        {Access: temporary.Access, Secret: temporary.Secret},
		"a wrong security token":   {Access: temporary.Access, Secret: temporary.Secret, SecurityToken: brief.SecurityToken},
		"an expired key":           brief,
		"a key of a disabled user": gone,
		"a revoked key":            revoked,
	} {
		_, _, err := h.dir.KeyToken(t.Context(), c.Access, c.Secret, c.SecurityToken)
		wantError(t, what, err, errand.Unauthenticated, "access_key")
		if text == "" {
			text = err.Error()
		}
		if err != nil && err.Error() != text {
			t.Errorf("%s: %q, want %q as of others", what, err, text)
		}
	}
	if _, err := h.dir.SetUser(t.Context(), h.admin, "ops", auth.UserChange{Roles: map[string]errand.Role{"cn-north-4": ""}}); err != nil {
		t.Fatal(err)
	}
	_, _, err := h.dir.KeyToken(t.Context(), good.Access, good.Secret, "")
	wantError(t, "a user without a role", err, errand.Forbidden, "role")
}

func TestKeyTokenEndsWithItsKey(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.user(t, "ops", errand.Operator)
	other := h.node(t, h.store)
	k, stays := h.key(t, "ops", 0), h.key(t, "ops", 0)
	token, _ := h.keyToken(t, k)
	left, _ := h.keyToken(t, stays)
	for _, d := range []*auth.Directory{h.dir, other} {
		if _, err := d.Session(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.dir.RevokeKey(t.Context(), h.admin, k.Access); err != nil {
		t.Fatal(err)
	}
	_, err := h.dir.Session(t.Context(), token)
	wantError(t, "the session of a revoked key", err, errand.Unauthenticated, "token")
	_, _, err = other.Rescope(t.Context(), token, auth.Scope{ProjectName: "cn-north-4"})
	wantError(t, "the same, rescoped elsewhere", err, errand.Unauthenticated, "token")
	other.Forget()
	_, err = other.Session(t.Context(), token)
	wantError(t, "the same, elsewhere", err, errand.Unauthenticated, "token")
	if _, err := h.dir.Session(t.Context(), left); err != nil {
		t.Errorf("the session of another key: %v", err)
	}
}

func TestKeyTokenStaysInItsProject(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ctx := t.Context()
	if _, err := h.dir.AddProject(ctx, h.admin, "other", ""); err != nil {
		t.Fatal(err)
	}
	token, s := h.keyToken(t, h.first.Key) // of an admin, who may do everything everywhere
	h.move(time.Hour)
	for what, scope := range map[string]auth.Scope{"no project": {}, "another": {ProjectName: "other"}, "nowhere": {ProjectName: "nowhere"}} {
		_, _, err := h.dir.Rescope(ctx, token, scope)
		wantError(t, what, err, errand.Forbidden, "project")
	}
	next, n, err := h.dir.Rescope(ctx, token, auth.Scope{ProjectID: s.Project.ID})
	if err != nil || n.Access != h.first.Key.Access || !n.ExpiresAt.Equal(s.ExpiresAt) {
		t.Fatalf("Rescope = %+v, %v", n, err)
	}
	own, err := h.dir.OwnProjects(ctx, n.Principal)
	if err != nil || len(own) != 1 || own[0].ID != s.Project.ID {
		t.Errorf("own projects are %+v, %v", own, err)
	}
	if err := h.dir.RevokeKey(ctx, h.admin, h.first.Key.Access); err != nil {
		t.Fatal(err)
	}
	_, err = h.dir.Session(ctx, next)
	wantError(t, "a rescoped session of a revoked key", err, errand.Unauthenticated, "token")
}

func TestEndSession(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ctx := t.Context()
	token, kept := h.tokenFor(t, auth.Scope{}), h.tokenFor(t, auth.Scope{})
	for range 2 {
		if _, err := h.dir.Session(ctx, kept); err != nil {
			t.Fatal(err)
		}
		if err := h.dir.EndSession(ctx, token); err != nil {
			t.Fatal(err)
		}
		_, err := h.dir.Session(ctx, token)
		wantError(t, "a session that was ended", err, errand.Unauthenticated, "token")
	}
	if err := h.dir.EndSession(ctx, "nonsense"); err != nil {
		t.Error(err)
	}
}
