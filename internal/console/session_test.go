package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	if a := v.get("/instances/" + redisID + "?zoom=week"); a.status != http.StatusSeeOther || a.header.Get("Location") != "../signin?next=instances%2F"+redisID+"%3Fzoom%3Dweek" {
		t.Errorf("a page without a session: %d, to %q", a.status, a.header.Get("Location"))
	}
	v.get("/signin?next=instances").want(t, http.StatusOK, `value="instances"`, `name="password"`)
	a := v.post("/signin", "user", "admin", "password", "wrong-password")
	a.want(t, http.StatusUnauthorized, "The user name or the password is wrong.", `value="admin"`)
	a.wantNot(t, "wrong-password")
	v.post("/signin", "user", "nobody", "password", s.first.Password).want(t, http.StatusUnauthorized, "The user name or the password is wrong.")

	a = v.post("/signin", "user", "admin", "password", s.first.Password, "next", "instances/"+redisID+"?zoom=week")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "./instances/"+redisID+"?zoom=week" {
		t.Errorf("sign-in: %d, to %q", a.status, a.header.Get("Location"))
	}
	k := a.header.Get("Set-Cookie")
	if !strings.Contains(k, "HttpOnly") || !strings.Contains(k, "SameSite=Lax") || strings.Contains(k, "Secure") || strings.Contains(k, "Path") {
		t.Errorf("cookie %q", k)
	}
	v.get("/").want(t, http.StatusOK, "Overview", "cn-north-4")
	if a := v.get("/signin"); a.status != http.StatusSeeOther {
		t.Errorf("the sign-in page with a session: %d", a.status)
	}

	// The session ends where it is kept, not only in the browser.
	u, _ := url.Parse(s.url)
	kept := v.client.Jar.Cookies(u)
	v.post("/signout").want(t, http.StatusSeeOther)
	v.client.Jar.SetCookies(u, kept)
	if a := v.get("/"); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "signin?ended=1") {
		t.Errorf("a session that was signed out: %d, to %q", a.status, a.header.Get("Location"))
	}
	v.get("/signin?ended=1").want(t, http.StatusOK, "Your session has ended.")
}

// TestTLSBehindProxy checks that the cookie of a session that came over TLS goes
// nowhere else.
func TestTLSBehindProxy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	form := url.Values{"user": {"admin"}, "password": {s.first.Password}}
	if a := s.visitor().do(http.MethodPost, "/signin", form, "X-Forwarded-Proto", "https"); !strings.Contains(a.header.Get("Set-Cookie"), "Secure") {
		t.Errorf("cookie %q", a.header.Get("Set-Cookie"))
	}
}

func TestSignInIsRateLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.visitor()
	for range 20 { // tries that succeed do not count
		v.post("/signin", "user", "admin", "password", s.first.Password).want(t, http.StatusSeeOther)
	}
	last := 0
	for range 11 {
		last = v.post("/signin", "user", "admin", "password", "wrong-password").status
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("after eleven wrong passwords: %d", last)
	}
	v.post("/signin", "user", "admin", "password", s.first.Password).want(t, http.StatusTooManyRequests, "Too many tries.")
	v.post("/signin", "user", " admin ", "access", "x", "password", s.first.Password).want(t, http.StatusTooManyRequests)
}

func TestSignInByKey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.dir.AddProject(t.Context(), s.admin, "other", ""); err != nil {
		t.Fatal(err)
	}
	v := s.visitor()
	v.get("/signin?by=key").want(t, http.StatusOK, `name="secret"`)
	v.post("/signin", "by", "key", "access", s.first.Key.Access, "secret", "wrong").want(t, http.StatusUnauthorized, "The access key or its secret is wrong", s.first.Key.Access)
	v.post("/signin", "by", "key", "access", s.first.Key.Access, "secret", s.first.Key.Secret).want(t, http.StatusSeeOther)
	v.get("/").want(t, http.StatusOK, "cn-north-4")

	// A key is for one project, whatever its user may do elsewhere.
	a := v.get("/project")
	a.want(t, http.StatusOK, "cn-north-4")
	a.wantNot(t, "<bdi>other</bdi>")
	other, err := s.dir.Projects(t.Context(), s.admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range other {
		if p.Name == "other" {
			v.post("/project", "project", p.ID).want(t, http.StatusForbidden)
		}
	}

	// What was made with a key ends with it.
	if err := s.dir.RevokeKey(t.Context(), s.admin, s.first.Key.Access); err != nil {
		t.Fatal(err)
	}
	if a := v.get("/"); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "ended=1") {
		t.Errorf("after the key was revoked: %d, to %q", a.status, a.header.Get("Location"))
	}
}

func TestProjects(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other, err := s.dir.AddProject(t.Context(), s.admin, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	task := s.submit("beside", "{}")
	_, err = s.dir.AddUser(t.Context(), s.admin, auth.NewUser{Name: "both", Password: "bothbothboth", Roles: map[string]errand.Role{s.admin.Project: errand.Operator, other.ID: errand.Viewer}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.dir.AddUser(t.Context(), s.admin, auth.NewUser{Name: "none", Password: "nonenonenone"}); err != nil {
		t.Fatal(err)
	}
	s.visitor().post("/signin", "user", "none", "password", "nonenonenone").want(t, http.StatusForbidden, "You have no role in any project.")

	v := s.visitor()
	if a := v.post("/signin", "user", "both", "password", "bothbothboth", "next", "tasks"); a.to() != "project?next=tasks" {
		t.Errorf("with two projects, sign-in leads to %q", a.to())
	}
	if a := v.get("/tasks/" + task.ID); !strings.HasPrefix(a.to(), "project?next=tasks") {
		t.Errorf("without a project, a page leads to %q", a.to())
	}
	v.get("/project?next=tasks").want(t, http.StatusOK, "<bdi>cn-north-4</bdi>", "<bdi>other</bdi>")
	if a := v.post("/project", "project", other.ID, "next", "tasks"); a.to() != "tasks" {
		t.Errorf("the choice leads to %q", a.to())
	}
	v.get("/tasks/"+task.ID).want(t, http.StatusNotFound, "does not exist")
	v.get("/instances/"+redisID).want(t, http.StatusNotFound)
	v.post("/project", "project", s.admin.Project).want(t, http.StatusSeeOther)
	v.get("/tasks/"+task.ID).want(t, http.StatusOK, task.ID)
	v.post("/project", "project", strings.Repeat("0", 32)).want(t, http.StatusForbidden)

	// A form of a page of the other project does nothing in this one.
	const id = "00000000-0000-4000-8000-000000000003"
	v.post("/instances", "seen", other.ID, "id", id, "name", "n", "engine", "redis").want(t, http.StatusConflict, "another project")
	v.post("/instances", "seen", s.admin.Project, "id", id, "name", "n", "engine", "redis").want(t, http.StatusSeeOther)
}

func TestRoles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("vera", errand.Viewer)
	s.user("otto", errand.Operator)
	task := s.submit("beside", "{}")
	vera, otto := s.as("vera", "veraveravera"), s.as("otto", "ottoottootto")
	for _, path := range []string{"/", "/instances", "/instances/" + redisID, "/tasks", "/tasks/" + task.ID, "/operations", "/workers"} {
		a := vera.get(path)
		a.want(t, http.StatusOK)
		a.wantNot(t, `href="`+strings.Repeat("../", strings.Count(path, "/")-1)+`submit`, "/cancel", "Users and keys", "Register")
	}
	for path, pairs := range map[string][]string{
		"/instances":                    {"id", "00000000-0000-0000-0000-000000000000", "name", "x", "engine", "redis"},
		"/tasks/" + task.ID + "/cancel": {"reason", "x"},
		"/submit":                       {"instance", redisID, "operation", "beside"},
		"/users":                        {"name", "eve", "password", "eveeveeveeve", "role", "admin"},
		"/users/admin":                  {"change", "password", "password", "eveeveeveeve"},
		"/users/admin/keys":             {"project", s.admin.Project},
		"/keys/" + s.first.Key.Access + "/revoke": {},
	} {
		vera.post(path, pairs...).want(t, http.StatusForbidden, "You may not do this", "Request")
		if strings.HasPrefix(path, "/users") || strings.HasPrefix(path, "/keys") {
			otto.post(path, pairs...).want(t, http.StatusForbidden)
		}
	}
	otto.get("/users").want(t, http.StatusForbidden)
	for _, path := range []string{"/submit", "/submit?instance=" + redisID, "/tasks/" + task.ID + "/cancel"} {
		vera.get(path).want(t, http.StatusForbidden, "You may not do this")
		otto.get(path).want(t, http.StatusOK)
	}
	otto.get("/tasks/"+task.ID).want(t, http.StatusOK, "/cancel")
}

// TestOtherSites checks that no other site can make a browser send a form here.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v := s.asAdmin()
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		v.do(http.MethodPost, "/users", url.Values{"name": {"eve"}}, header...).want(t, http.StatusForbidden, "another site")
	}
	a := v.get("/")
	for header, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin",
	} {
		if got := a.header.Get(header); !strings.Contains(got, want) {
			t.Errorf("%s: %q", header, got)
		}
	}
	a.wantNot(t, "<style", " style=", "onclick", "<script>", "http://", "https://")
}

func TestExpiredForm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("otto", errand.Operator)
	otto := s.as("otto", "ottoottootto")
	gone := true
	if _, err := s.dir.SetUser(t.Context(), s.admin, "otto", auth.UserChange{Disabled: &gone}); err != nil {
		t.Fatal(err)
	}
	otto.post("/submit", "instance", redisID, "operation", "beside").want(t, http.StatusUnauthorized, "nothing was done", "signin")
	otto.get("/live?project=1").want(t, http.StatusUnauthorized)
}
