package auth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/signature"
)

// signed returns a request as a server sees it, signed with c.
func (h *house) signed(t testing.TB, c auth.Credential, method, target, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	if c.SecurityToken != "" {
		r.Header.Set("X-Security-Token", c.SecurityToken)
	}
	if err := signature.Sign(r, c.Access, c.Secret, []byte(body), h.now()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) tokenFor(t testing.TB, scope auth.Scope) string {
	t.Helper()
	token, _, err := h.dir.PasswordToken(t.Context(), "admin", h.first.Password, scope)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func withToken(token string) *http.Request {
	r := httptest.NewRequest("GET", "/v2/p/tasks", nil)
	r.Header.Set("X-Auth-Token", token)
	return r
}

func TestAuthenticateBySignature(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	viewer := h.user(t, "reader", errand.Viewer)
	temporary := h.key(t, "reader", time.Hour)
	for _, body := range []string{"", "{}", strings.Repeat("x", 100_000)} {
		r := h.signed(t, h.first.Key, "POST", "/v2/p/tasks?limit=10", body)
		p, err := h.auth.Authenticate(r)
		if err != nil || p != h.admin {
			t.Fatalf("Authenticate = %+v, %v; want %+v", p, err, h.admin)
		}
		if again, err := io.ReadAll(r.Body); err != nil || string(again) != body {
			t.Errorf("the handler reads %d bytes, %v; want %d", len(again), err, len(body))
		}
	}
	p, err := h.auth.Authenticate(h.signed(t, temporary, "GET", "/", ""))
	want := errand.Principal{User: errand.User{ID: viewer.ID, Name: "reader"}, Project: h.first.Project.ID, Role: errand.Viewer}
	if err != nil || p != want {
		t.Errorf("temporary key: %+v, %v; want %+v", p, err, want)
	}
}

func TestAuthenticateRefuses(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.user(t, "reader", errand.Viewer)
	temporary := h.key(t, "reader", time.Hour)
	other := h.key(t, "reader", time.Hour)
	token := h.tokenFor(t, auth.Scope{})
	for _, tt := range []struct {
		name    string
		key     auth.Credential
		change  func(*http.Request)
		subject string
		msg     string
	}{
		{"nothing sent", h.first.Key, func(r *http.Request) { r.Header = http.Header{} }, "credentials", "x-auth-token not found"},
		{"another secret", auth.Credential{Access: h.first.Key.Access, Secret: "x"}, func(*http.Request) {}, "signature", "verify aksk signature fail"},
		{"another path", h.first.Key, func(r *http.Request) { r.URL.Path += "x" }, "signature", "verify aksk signature fail"},
		{"another body", h.first.Key, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{ }")) }, "signature", "verify aksk signature fail"},
		{"a body that states another hash", h.first.Key, func(r *http.Request) { r.Header.Set("X-Sdk-Content-Sha256", strings.Repeat("0", 64)) }, "signature", "verify aksk signature fail"},
		{"another algorithm", h.first.Key, func(r *http.Request) { r.Header.Set("Authorization", "SDK-HMAC-SM3 Access=x") }, "signature", "verify aksk signature fail"},
		{"Basic", h.first.Key, func(r *http.Request) { r.SetBasicAuth("admin", h.first.Password) }, "signature", "verify aksk signature fail"},
		{"no date", h.first.Key, func(r *http.Request) { r.Header.Del("X-Sdk-Date") }, "signature", "verify aksk signature fail"},
		{"unknown key", auth.Credential{Access: "ABCDEFGHIJKLMNOPQRST", Secret: "x"}, func(*http.Request) {}, "access_key", "ak ABCDEFGHIJKLMNOPQRST not exist"},
		{"key of another form", auth.Credential{Access: "short", Secret: "x"}, func(*http.Request) {}, "access_key", "ak short not exist"},
		{"a bad signature beside a good token", h.first.Key, func(r *http.Request) { r.URL.Path = "/x"; r.Header.Set("X-Auth-Token", token) }, "signature", "verify aksk signature fail"},
		{"temporary key without its token", temporary, func(r *http.Request) {
			r.Header.Del("X-Security-Token")
			if err := signature.Sign(r, temporary.Access, temporary.Secret, []byte("{}"), start); err != nil {
				t.Error(err)
			}
		}, "token", "decrypt token fail"},
		{"temporary key with another's token", auth.Credential{Access: temporary.Access, Secret: temporary.Secret, SecurityToken: other.SecurityToken},
			func(*http.Request) {}, "token", "decrypt token fail"},
		{"token of another form", h.first.Key, func(r *http.Request) { r.Header = http.Header{"X-Auth-Token": {"x"}} }, "token", "decrypt token fail"},
		{"unknown token", h.first.Key, func(r *http.Request) { r.Header = http.Header{"X-Auth-Token": {strings.Repeat("A", 43)}} }, "token", "decrypt token fail"},
		{"huge token", h.first.Key, func(r *http.Request) { r.Header = http.Header{"X-Auth-Token": {strings.Repeat("A", 100_000)}} }, "token", "decrypt token fail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := h.signed(t, tt.key, "POST", "/v2/p/tasks", "{}")
			tt.change(r)
			p, err := h.auth.Authenticate(r)
			wantError(t, "Authenticate", err, errand.Unauthenticated, tt.subject)
			if e := errand.ErrorOf(err); e.Msg != tt.msg {
				t.Errorf("message %q, want %q", e.Msg, tt.msg)
			}
			if p != (errand.Principal{}) {
				t.Errorf("a refused request has the principal %+v", p)
			}
		})
	}
}

func TestAuthenticateClock(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	for _, tt := range []struct {
		off time.Duration
		ok  bool
	}{
		{0, true}, {15 * time.Minute, true}, {-15 * time.Minute, true},
		{15*time.Minute + time.Second, false}, {-15*time.Minute - time.Second, false}, {time.Hour, false}, {-time.Hour, false},
	} {
		r := h.signed(t, h.first.Key, "GET", "/", "")
		h.move(tt.off)
		_, err := h.auth.Authenticate(r)
		h.move(-tt.off)
		if tt.ok {
			if err != nil {
				t.Errorf("%s off: %v", tt.off, err)
			}
			continue
		}
		wantError(t, tt.off.String(), err, errand.Unauthenticated, "signature_expired")
		want := "signature expired, signature time:20260102T030405Z,server time:" + start.Add(tt.off).Format("20060102T150405Z")
		if e := errand.ErrorOf(err); e != nil && e.Msg != want {
			t.Errorf("message %q, want %q", e.Msg, want)
		}
	}
}

func TestAuthenticateByToken(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	unscoped, scoped := h.tokenFor(t, auth.Scope{}), h.tokenFor(t, auth.Scope{ProjectName: "cn-north-4"})
	nowhere := h.admin
	nowhere.Project = ""
	for token, want := range map[string]errand.Principal{unscoped: nowhere, scoped: h.admin} {
		r := withToken(token)
		r.SetBasicAuth("a proxy's", "own") // no signature: the token counts
		if p, err := h.auth.Authenticate(r); err != nil || p != want {
			t.Errorf("Authenticate = %+v, %v; want %+v", p, err, want)
		}
	}
	h.move(auth.TokenLifetime - time.Second)
	if _, err := h.auth.Authenticate(withToken(scoped)); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	h.move(time.Second)
	_, err := h.auth.Authenticate(withToken(scoped))
	wantError(t, "expired token", err, errand.Unauthenticated, "token_expired")
}

func TestBothCredentialsPreferSignature(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.user(t, "reader", errand.Viewer)
	r := h.signed(t, h.key(t, "reader", 0), "GET", "/", "")
	r.Header.Set("X-Auth-Token", h.tokenFor(t, auth.Scope{ProjectID: h.first.Project.ID}))
	if p, err := h.auth.Authenticate(r); err != nil || p.User.Name != "reader" {
		t.Errorf("Authenticate = %+v, %v; want the signer", p, err)
	}
}

func TestAuthenticateSeesChangesAtOnce(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.user(t, "reader", errand.Viewer)
	key, revoked := h.key(t, "reader", 0), h.key(t, "reader", 0)
	project, yes, no := h.first.Project.ID, true, false
	set := func(c auth.UserChange) {
		t.Helper()
		if _, err := h.dir.SetUser(t.Context(), h.admin, "reader", c); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(c auth.Credential) (errand.Role, error) {
		p, err := h.auth.Authenticate(h.signed(t, c, "GET", "/", ""))
		return p.Role, err
	}
	if role, err := ask(key); role != errand.Viewer {
		t.Fatalf("role %q, %v", role, err)
	}
	set(auth.UserChange{Roles: map[string]errand.Role{project: errand.Operator}})
	if role, err := ask(key); role != errand.Operator {
		t.Errorf("after a new role: %q, %v", role, err)
	}
	set(auth.UserChange{Roles: map[string]errand.Role{project: ""}})
	_, err := ask(key)
	wantError(t, "after the role is gone", err, errand.Forbidden, "role")
	_, err = ask(auth.Credential{Access: key.Access, Secret: "x"})
	wantError(t, "role gone and a bad signature", err, errand.Unauthenticated, "signature")
	set(auth.UserChange{Roles: map[string]errand.Role{project: errand.Viewer}, Disabled: &yes})
	_, err = ask(key)
	wantError(t, "disabled", err, errand.Unauthenticated, "access_key")
	set(auth.UserChange{Disabled: &no})
	if role, err := ask(key); role != errand.Viewer {
		t.Errorf("enabled again: %q, %v", role, err)
	}
	if _, err := ask(revoked); err != nil {
		t.Errorf("before it is revoked: %v", err)
	}
	if err := h.dir.RevokeKey(t.Context(), h.admin, revoked.Access); err != nil {
		t.Fatal(err)
	}
	_, err = ask(revoked)
	wantError(t, "revoked", err, errand.Unauthenticated, "access_key")
}

func TestTemporaryKeyExpires(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	key := h.key(t, "admin", time.Minute)
	h.move(time.Minute - time.Second)
	if _, err := h.auth.Authenticate(h.signed(t, key, "GET", "/", "")); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	h.move(time.Second) // what is remembered of it is still fresh
	_, err := h.auth.Authenticate(h.signed(t, key, "GET", "/", ""))
	wantError(t, "expired", err, errand.Unauthenticated, "access_key")
	h.move(time.Minute)
	_, err = h.auth.Authenticate(h.signed(t, key, "GET", "/", ""))
	wantError(t, "expired and looked up again", err, errand.Unauthenticated, "access_key")
}

func TestCacheSparesTheStore(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	unknown := auth.Credential{Access: "ABCDEFGHIJKLMNOPQRST", Secret: "x"}
	token := h.tokenFor(t, auth.Scope{})
	asks := func(c func() *http.Request) int64 {
		before := h.store.asked.Load()
		_, _ = h.auth.Authenticate(c())
		return h.store.asked.Load() - before
	}
	for name, request := range map[string]func() *http.Request{
		"known key":     func() *http.Request { return h.signed(t, h.first.Key, "GET", "/", "") },
		"unknown key":   func() *http.Request { return h.signed(t, unknown, "GET", "/", "") },
		"token":         func() *http.Request { return withToken(token) },
		"unknown token": func() *http.Request { return withToken(strings.Repeat("A", 43)) },
	} {
		if asks(request) == 0 {
			t.Errorf("%s: nothing was asked the first time", name)
		}
		h.move(5*time.Second - 1)
		if n := asks(request); n != 0 {
			t.Errorf("%s: %d questions though it is remembered", name, n)
		}
		h.move(1)
		if asks(request) == 0 {
			t.Errorf("%s: remembered for ever", name)
		}
	}
	if n := asks(func() *http.Request { return h.signed(t, auth.Credential{Access: "no", Secret: "x"}, "GET", "/", "") }); n != 0 {
		t.Errorf("a key of another form: %d questions", n)
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.auth.MaxBody = 10
	for _, size := range []int{9, 10, 11, 1000} {
		for _, known := range []bool{true, false} {
			r := h.signed(t, h.first.Key, "POST", "/", strings.Repeat("x", size))
			if !known {
				r.ContentLength = -1
			}
			_, err := h.auth.Authenticate(r)
			if size <= 10 && err != nil {
				t.Errorf("%d bytes: %v", size, err)
			} else if size > 10 {
				wantError(t, "too long", err, errand.Invalid, "body_size")
			}
		}
	}
	r := h.signed(t, h.first.Key, "POST", "/", "x")
	r.Body = http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(strings.NewReader("xxxxx")), 3)
	_, err := h.auth.Authenticate(r)
	wantError(t, "the server's own limit", err, errand.Invalid, "body_size")
	r = h.signed(t, h.first.Key, "POST", "/", "x")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), brokenReader{}))
	_, err = h.auth.Authenticate(r)
	wantError(t, "a body that breaks off", err, errand.Invalid, "request")
}

// What all long bodies together take is bounded, and given back when their
// requests end; short ones are never turned away. The secret is not needed to
// fill it, so a wrong signature counts too.
func TestHeldBodies(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	const long = 300_000
	h.auth.MaxHeld = 400_000
	ask := func(ctx context.Context, size int, c auth.Credential) error {
		_, err := h.auth.Authenticate(h.signed(t, c, "POST", "/", strings.Repeat("x", size)).WithContext(ctx))
		return err
	}
	forged := h.first.Key
	forged.Secret = "guessed"
	first, end := context.WithCancel(t.Context())
	defer end()
	wantError(t, "forged", ask(first, long, forged), errand.Unauthenticated, "signature")
	over, endOver := context.WithCancel(t.Context())
	defer endOver()
	wantError(t, "one too many", ask(over, long, h.first.Key), errand.Unavailable, "load")
	if err := ask(t.Context(), 64<<10, h.first.Key); err != nil {
		t.Errorf("a short body is turned away: %v", err)
	}
	end()
	endOver()
	for again := true; again; { // what is held is given back by a goroutine
		next, endNext := context.WithCancel(t.Context())
		err := ask(next, long, h.first.Key)
		endNext()
		if again = err != nil; again {
			wantError(t, "until the first request has ended", err, errand.Unavailable, "load")
			runtime.Gosched()
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// What is not signed is not read: the handler sees the stream itself.
func TestUnsignedBodyIsNotRead(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	r := httptest.NewRequest("POST", "/", io.MultiReader(brokenReader{}))
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD")
	if err := signature.Sign(r, h.first.Key.Access, h.first.Key.Secret, nil, start); err != nil {
		t.Fatal(err)
	}
	if _, err := h.auth.Authenticate(r); err != nil {
		t.Error(err)
	}
	r = withToken(h.tokenFor(t, auth.Scope{}))
	r.Body = io.NopCloser(brokenReader{})
	if _, err := h.auth.Authenticate(r); err != nil {
		t.Error(err)
	}
}

func TestAuthenticateSideBySide(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	h.user(t, "reader", errand.Viewer)
	key := h.key(t, "reader", 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				r := h.signed(t, key, "POST", "/v2/p/tasks?a=1", "{}")
				if p, err := h.auth.Authenticate(r); err != nil || p.User.Name != "reader" {
					t.Errorf("Authenticate = %+v, %v", p, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			role := map[string]errand.Role{h.first.Project.ID: errand.Operator}
			if _, err := h.dir.SetUser(t.Context(), h.admin, "reader", auth.UserChange{Roles: role}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func BenchmarkAuthenticate(b *testing.B) {
	h := openHouse(b)
	get := h.signed(b, h.first.Key, "GET", "/v2/0123456789abcdef0123456789abcdef/instances/11111111-2222-3333-4444-555555555555/tasks?start=1&limit=10", "")
	get.Body = nil
	b.Run("signature", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.auth.Authenticate(get); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signature over 1 kB", func(b *testing.B) {
		body := strings.Repeat("x", 1000)
		post := h.signed(b, h.first.Key, "POST", "/v2/0123456789abcdef0123456789abcdef/tasks", body)
		b.ReportAllocs()
		for b.Loop() {
			post.Body = io.NopCloser(bytes.NewReader([]byte(body)))
			if _, err := h.auth.Authenticate(post); err != nil {
				b.Fatal(err)
			}
		}
	})
	token := withToken(h.tokenFor(b, auth.Scope{}))
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.auth.Authenticate(token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
