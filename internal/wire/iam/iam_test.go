package iam_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/openapitest"
	"github.com/errandhq/errand/internal/signature"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/iam"
)

const otherProject = "5560df16-cebf-4473-95c4-d1b573c16e79"

var now = time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)

// service is the identity API over a fresh database, behind the router.
type service struct {
	http.Handler
	dir   *auth.Directory
	first auth.First
	admin errand.Principal
	at    time.Time
}

func open(t *testing.T) *service {
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
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{at: now}
	if s.dir, err = auth.OpenDirectory(t.Context(), store, sealer, func() time.Time { return s.at }); err != nil {
		t.Fatal(err)
	}
	if err := s.dir.Bootstrap(t.Context(), "cn-north-4", func(f auth.First) error { s.first = f; return nil }); err != nil {
		t.Fatal(err)
	}
	s.admin = errand.Principal{User: errand.User{ID: s.first.User.ID}, Project: s.first.Project.ID, Role: errand.Admin}
	if _, err := s.dir.AddProject(t.Context(), s.admin, "cn-east-3", otherProject); err != nil {
		t.Fatal(err)
	}
	n := auth.NewUser{Name: "ops", Password: "correct horse", Roles: map[string]errand.Role{"cn-east-3": errand.Operator}}
	if _, err := s.dir.AddUser(t.Context(), s.admin, n); err != nil {
		t.Fatal(err)
	}
	who := auth.NewAuthenticator(s.dir)
	router := &wire.Router{Auth: who, Identity: iam.New(s.dir, who)}
	s.Handler = openapitest.Wrap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		router.ServeHTTP(w, wire.Begin(w, r, &wire.Exchange{ID: "00000000000000000000000000000001"}))
	}))
	return s
}

// do sends a request and returns the answer, with the ids of this run by name.
func (s *service) do(r *http.Request) (*http.Response, string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	body := strings.NewReplacer(s.first.Project.ID, "{project}", s.first.User.ID, "{admin}", s.first.Key.Access, "{access}").Replace(w.Body.String())
	return w.Result(), body
}

func (s *service) signed(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if err := signature.Sign(r, s.first.Key.Access, s.first.Key.Secret, []byte(body), s.at); err != nil {
		t.Fatal(err)
	}
	return r
}

func password(name, pass, scope string) string {
	return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"` + name + `","password":"` + pass + `","domain":{"name":"any"}}}}` + scope + `}}`
}

func post(body string) *http.Request {
	r := httptest.NewRequest("POST", "/v3/auth/tokens", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json;charset=utf8")
	return r
}

// token returns a token of the user ops.
func (s *service) token(t *testing.T, scope string) string {
	t.Helper()
	resp, body := s.do(post(password("ops", "correct horse", scope)))
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	return resp.Header.Get("X-Subject-Token")
}

func TestLookUps(t *testing.T) {
	t.Parallel()
	s := open(t)
	const first = `{"id":"{project}","name":"cn-north-4","domain_id":"6522cf7814f326a71cbe726b6152dcf2","parent_id":"6522cf7814f326a71cbe726b6152dcf2","description":"","enabled":true,"is_domain":false}`
	const end = `],"links":{"self":"/v3/projects","next":null,"previous":null}}`
	for _, tt := range []struct {
		target, body string
		status       int
		want         string
	}{
		{"/v3/projects?name=cn-north-4", "", 200, `{"projects":[` + first + end},
		{"/v3/projects?name=cn-north-4", "{}", 200, `{"projects":[` + first + end}, // Node sends a body with GET
		{"//v3//projects?name=cn-north-4", "", 200, `{"projects":[` + first + end},
		{"/v3/projects", "", 200, `{"projects":[` + first + end},
		{"/v3/projects?name=", "", 200, `{"projects":[` + first + end},
		{"/v3/projects?name=cn-east-3", "", 200, `{"projects":[` + end}, // not the key's project
		{"/v3/projects?name=cn-north", "", 200, `{"projects":[` + end},
		{"/v3/projects?name=a&name=b", "", 400, `{"error":{"code":400,"message":"name is given more than once","title":"Bad Request"}}`},
		{"/v3/auth/domains", "", 200, `{"domains":[{"id":"6522cf7814f326a71cbe726b6152dcf2","name":"errand","description":"","enabled":true}],"links":{"self":"/v3/auth/domains","next":null,"previous":null}}`},
		{"/v5/caller-identity", "", 200, `{"account_id":"6522cf7814f326a71cbe726b6152dcf2","principal_id":"{admin}","principal_urn":"iam::6522cf7814f326a71cbe726b6152dcf2:user:admin"}`},
		{"/v3/users", "", 404, `{"error_msg":"The API does not exist or has not been published in the environment.","error_code":"APIGW.0101","request_id":"00000000000000000000000000000001"}`},
	} {
		resp, body := s.do(s.signed(t, "GET", tt.target, tt.body))
		if resp.StatusCode != tt.status || body != tt.want {
			t.Errorf("%s: %d %s\nwant %d %s", tt.target, resp.StatusCode, body, tt.status, tt.want)
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: Content-Type %q", tt.target, ct)
		}
	}
	resp, body := s.do(s.signed(t, "DELETE", "/v3/projects", ""))
	if resp.StatusCode != 405 || !strings.Contains(body, `"code":405`) || resp.Header.Get("Allow") == "" {
		t.Errorf("DELETE: %d %s", resp.StatusCode, body)
	}
}

// The Go SDK signs identity calls with the date as the only signed header.
func TestSignatureOfTheDateOnly(t *testing.T) {
	t.Parallel()
	s := open(t)
	hash := func(b string) string { h := sha256.Sum256([]byte(b)); return hex.EncodeToString(h[:]) }
	date := s.at.Format(signature.DateFormat)
	mac := hmac.New(sha256.New, []byte(s.first.Key.Secret))
	mac.Write([]byte("SDK-HMAC-SHA256\n" + date + "\n" +
		hash("GET\n/v3/projects/\nname=cn-north-4\nx-sdk-date:"+date+"\n\nx-sdk-date\n"+hash(""))))
	r := httptest.NewRequest("GET", "/v3/projects?name=cn-north-4", nil)
	r.Header.Set("User-Agent", "Go-http-client/1.1")
	r.Header.Set("X-Sdk-Date", date)
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access="+s.first.Key.Access+", SignedHeaders=x-sdk-date, Signature="+hex.EncodeToString(mac.Sum(nil)))
	if resp, body := s.do(r); resp.StatusCode != 200 || !strings.Contains(body, "{project}") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestCredentialsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	for name, change := range map[string]func(*http.Request){
		"no credentials": func(r *http.Request) { r.Header = http.Header{} },
		"another path":   func(r *http.Request) { r.URL.Path = "/v3/auth/domains" },
		"another body":   func(r *http.Request) { r.Body = http.NoBody; r.URL.RawQuery = "" },
	} {
		r := s.signed(t, "GET", "/v3/projects?name=x", "{}")
		change(r)
		resp, body := s.do(r)
		if resp.StatusCode != 401 || !strings.Contains(body, `"error_code":"APIGW.0301"`) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}

func TestTokenByPassword(t *testing.T) {
	t.Parallel()
	s := open(t)
	const begin = `{"token":{"methods":["password"],"expires_at":"2026-01-03T03:04:05.678900Z","issued_at":"2026-01-02T03:04:05.678900Z",` +
		`"user":{"id":"{admin}","name":"admin","domain":{"id":"6522cf7814f326a71cbe726b6152dcf2","name":"errand"},"password_expires_at":""},`
	const project = `"project":{"id":"{project}","name":"cn-north-4","domain":{"id":"6522cf7814f326a71cbe726b6152dcf2","name":"errand"}},`
	const account = `"domain":{"id":"6522cf7814f326a71cbe726b6152dcf2","name":"errand"},`
	const end = `"roles":[{"id":"admin","name":"admin"}],"catalog":[]}}`
	for scope, want := range map[string]string{
		``:                                      begin + account + end,
		`,"scope":{"domain":{"name":"errand"}}`: begin + account + end,
		`,"scope":{"project":{"name":"cn-north-4"}}`:                              begin + project + end,
		`,"scope":{"project":{"name":"cn-north-4","domain":{"name":"any"}}}`:      begin + project + end,
		`,"scope":{"project":{"id":"` + s.first.Project.ID + `","name":"other"}}`: begin + project + end,
	} {
		resp, body := s.do(post(password("admin", s.first.Password, scope)))
		if resp.StatusCode != 201 || body != want {
			t.Errorf("scope %s: %d %s\nwant 201 %s", scope, resp.StatusCode, body, want)
		}
		token := resp.Header.Get("X-Subject-Token")
		r := httptest.NewRequest("GET", "/v3/auth/tokens?nocatalog=1", nil)
		r.Header.Set("X-Auth-Token", token)
		r.Header.Set("X-Subject-Token", token)
		resp, body = s.do(r)
		if want := strings.Replace(want, `,"catalog":[]`, "", 1); resp.StatusCode != 200 || body != want || resp.Header.Get("X-Subject-Token") != token {
			t.Errorf("scope %s, asked again: %d %s\nwant 200 %s", scope, resp.StatusCode, body, want)
		}
	}
}

func TestTokenByToken(t *testing.T) {
	t.Parallel()
	s := open(t)
	unscoped := s.token(t, "")
	s.at = now.Add(time.Hour)
	const scope = `,"scope":{"project":{"name":"cn-east-3"}}}}`
	for name, r := range map[string]*http.Request{
		"in the body":   post(`{"auth":{"identity":{"methods":["token"],"token":{"id":"` + unscoped + `"}}` + scope),
		"in the header": post(`{"auth":{"identity":{"methods":["token"]}` + scope),
	} {
		r.Header.Set("X-Auth-Token", unscoped)
		resp, body := s.do(r)
		if resp.StatusCode != 201 || !strings.Contains(body, `"id":"`+otherProject+`"`) || !strings.Contains(body, `"expires_at":"2026-01-03T03:04:05.678900Z"`) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		if token := resp.Header.Get("X-Subject-Token"); token == "" || token == unscoped {
			t.Errorf("%s: token %q", name, token)
		}
	}
}

func TestTokenGivesProjects(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, scope := range []string{"", `,"scope":{"project":{"name":"cn-east-3"}}`} {
		r := httptest.NewRequest("GET", "/v3/projects", nil)
		r.Header.Set("X-Auth-Token", s.token(t, scope))
		resp, body := s.do(r)
		var list struct{ Projects []struct{ ID, Name string } }
		if err := json.Unmarshal([]byte(body), &list); err != nil || resp.StatusCode != 200 || len(list.Projects) != 1 || list.Projects[0].ID != otherProject {
			t.Errorf("scope %q: %d %s", scope, resp.StatusCode, body)
		}
	}
}

func TestTokenRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, tt := range []struct {
		name, body string
		status     int
		say        string
	}{
		{"wrong password", password("admin", "wrong horse", ""), 401, `{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`},
		{"unknown user", password("nobody", "wrong horse", ""), 401, `{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`},
		{"project without a role", password("ops", "correct horse", `,"scope":{"project":{"name":"cn-north-4"}}`), 403, `"title":"Forbidden"`},
		{"no such project", password("ops", "correct horse", `,"scope":{"project":{"id":"x"}}`), 403, `"title":"Forbidden"`},
		{"no password", password("admin", "", ""), 400, "must have a name and a password"},
		{"no method", `{"auth":{}}`, 400, "must name one method"},
		{"two methods", `{"auth":{"identity":{"methods":["password","token"]}}}`, 400, "must name one method"},
		{"other method", `{"auth":{"identity":{"methods":["assume_role"]}}}`, 400, `assume_role`},
		{"no token", `{"auth":{"identity":{"methods":["token"]}}}`, 400, "must have an id"},
		{"bad token", `{"auth":{"identity":{"methods":["token"],"token":{"id":"x"}}}}`, 401, "decrypt token fail"},
		{"empty", "", 400, "must be a JSON object"},
		{"null", "null", 400, "must be a JSON object"},
		{"a list", "[]", 400, "must be a JSON object"},
		{"cut short", `{"auth":`, 400, "not the JSON"},
		{"two values", `{} {}`, 400, "not the JSON"},
		{"not UTF-8", "{\"\xff\":1}", 400, "must be a JSON object in UTF-8"},
		{"password a number", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"a","password":12345678}}}}}`, 400, "not the JSON"},
		{"deep", strings.Repeat(`{"a":`, 12_000), 400, "not the JSON"},
		{"huge", `{"a":"` + strings.Repeat("x", iam.MaxBody) + `"}`, 413, "Request entity too large."},
	} {
		resp, body := s.do(post(tt.body))
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.say) || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s\nwant %d with %s", tt.name, resp.StatusCode, body, tt.status, tt.say)
		}
		if strings.Contains(body, "horse") || strings.Contains(body, "12345678") || resp.Header.Get("X-Subject-Token") != "" {
			t.Errorf("%s: the answer gives something away: %s", tt.name, body)
		}
	}
}

func TestAskingAboutTokens(t *testing.T) {
	t.Parallel()
	s := open(t)
	ops := s.token(t, "")
	resp, _ := s.do(post(password("admin", s.first.Password, "")))
	admin := resp.Header.Get("X-Subject-Token")
	for _, tt := range []struct {
		name, token, subject string
		status               int
	}{
		{"own", ops, ops, 200},
		{"another's, by an admin", admin, ops, 200},
		{"another's", ops, admin, 403},
		{"unknown", ops, strings.Repeat("A", 43), 404},
		{"nonsense", ops, "x", 404},
		{"none", ops, "", 400},
		{"by nobody", "", ops, 401},
	} {
		r := httptest.NewRequest("GET", "/v3/auth/tokens", nil)
		r.Header.Set("X-Auth-Token", tt.token)
		r.Header.Set("X-Subject-Token", tt.subject)
		if resp, body := s.do(r); resp.StatusCode != tt.status || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s, want %d", tt.name, resp.StatusCode, body, tt.status)
		}
	}
}

func TestEveryKindHasAnAnswer(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := iam.New(s.dir, auth.NewAuthenticator(s.dir))
	for _, kind := range errand.Kinds() {
		row := d.Failures.Of(errand.Errorf(kind, "anything", "message"))
		if row.Status < 400 || row.Msg == "" || row.Gateway != (row.Code != "") {
			t.Errorf("%s: %+v", kind, row)
		}
	}
}
