package iam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/wire"
)

// MaxBody is the longest body of a request for a token, in bytes.
const MaxBody = 64 << 10

// subjectHeader carries the token that a call is about, in both directions.
const subjectHeader = "X-Subject-Token"

// timeFormat is how tokens spell times, in UTC.
const timeFormat = "2006-01-02T15:04:05.000000Z"

type tokens struct{ dir *auth.Directory }

// grant is a request for a token: by password or by another token.
type grant struct {
	method         string
	name, password string
	token          string
	scope          auth.Scope
	noCatalog      bool
}

// grantBody is the body of a request for a token. What it may hold besides is
// passed over, as the provider does: above all the account's name, of which
// there is only one here.
type grantBody struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User struct {
					Name     string `json:"name"`
					Password string `json:"password"`
				} `json:"user"`
			} `json:"password"`
			Token struct {
				ID string `json:"id"`
			} `json:"token"`
		} `json:"identity"`
		Scope struct {
			Project struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"project"`
		} `json:"scope"`
	} `json:"auth"`
}

func decodeGrant(r *http.Request) (grant, error) {
	var body grantBody
	if err := decodeBody(r, &body); err != nil {
		return grant{}, err
	}
	id, project := body.Auth.Identity, body.Auth.Scope.Project
	g := grant{
		name: id.Password.User.Name, password: id.Password.User.Password, token: id.Token.ID,
		scope:     auth.Scope{ProjectID: project.ID, ProjectName: project.Name},
		noCatalog: wire.NewQuery(r).Has("nocatalog"),
	}
	if len(id.Methods) != 1 {
		return g, errand.Errorf(errand.Invalid, "methods", "auth.identity.methods must name one method: password or token")
	}
	g.method = id.Methods[0]
	switch {
	case g.method == "password" && (g.name == "" || g.password == ""):
		return g, errand.Errorf(errand.Invalid, "user", "auth.identity.password.user must have a name and a password")
	case g.method == "token" && g.token == "":
		if g.token = r.Header.Get("X-Auth-Token"); g.token == "" {
			return g, errand.Errorf(errand.Invalid, "token", "auth.identity.token must have an id")
		}
	case g.method != "password" && g.method != "token":
		return g, errand.Errorf(errand.Invalid, "methods", "method %.40q is not one of password and token", g.method)
	}
	return g, nil
}

// decodeBody reads a JSON object and passes over members that v does not have.
func decodeBody(r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errand.Errorf(errand.Invalid, "body_size", "the request body is longer than %d bytes", MaxBody)
	}
	if err != nil {
		return errand.Errorf(errand.Invalid, "request", "the request body could not be read").WithCause(err)
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] != '{' || !utf8.Valid(body) {
		return errand.Errorf(errand.Invalid, "body", "the request body must be a JSON object in UTF-8")
	}
	if err := json.Unmarshal(body, v); err != nil {
		// The decoder's own words may quote the password.
		return errand.Errorf(errand.Invalid, "body", "the request body is not the JSON that is needed here")
	}
	return nil
}

// issued is a session as it is shown to its owner.
type issued struct {
	auth.Session
	token     string
	method    string
	noCatalog bool
}

func (t tokens) issue(ctx context.Context, g grant) (issued, error) {
	var token string
	var s auth.Session
	var err error
	if g.method == "password" {
		token, s, err = t.dir.PasswordToken(ctx, g.name, g.password, g.scope)
	} else {
		token, s, err = t.dir.Rescope(ctx, g.token, g.scope)
	}
	return issued{Session: s, token: token, method: g.method, noCatalog: g.noCatalog}, err
}

func encodeIssued(r *wire.Reply, i issued) {
	r.Status = http.StatusCreated
	encodeChecked(r, i)
}

// subject is the token that a caller wants to know about.
type subject struct {
	token     string
	noCatalog bool
}

func decodeSubject(r *http.Request) (subject, error) {
	s := subject{token: strings.TrimSpace(r.Header.Get(subjectHeader)), noCatalog: wire.NewQuery(r).Has("nocatalog")}
	if s.token == "" {
		return s, errand.Errorf(errand.Invalid, "token", "header %s is missing", subjectHeader)
	}
	return s, nil
}

// check tells about a token, to its owner or an admin.
func (t tokens) check(ctx context.Context, p errand.Principal, s subject) (issued, error) {
	session, err := t.dir.Session(ctx, s.token)
	if e := errand.ErrorOf(err); e != nil {
		if e.Kind == errand.Unauthenticated { // the caller's own credentials are good
			return issued{}, errand.Errorf(errand.NotFound, "token", "the token in %s is unknown or has expired", subjectHeader)
		}
		return issued{}, err
	}
	if session.Principal.User.ID != p.User.ID && !p.Can(errand.Admin) {
		return issued{}, errand.Errorf(errand.Forbidden, "role", "only an admin may ask about another user's token")
	}
	return issued{Session: session, token: s.token, method: "password", noCatalog: s.noCatalog}, nil
}

// tokenBody is what is told about a token. Clients of this API find services by
// their own list of endpoints, so the catalogue is empty.
type tokenBody struct {
	Methods   []string     `json:"methods"`
	ExpiresAt string       `json:"expires_at"`
	IssuedAt  string       `json:"issued_at"`
	User      userBody     `json:"user"`
	Project   *projectBody `json:"project,omitempty"`
	Domain    *named       `json:"domain,omitempty"` // of a token without a project
	Roles     []named      `json:"roles"`
	Catalog   *[]struct{}  `json:"catalog,omitempty"`
}

type userBody struct {
	named
	Domain            named  `json:"domain"`
	PasswordExpiresAt string `json:"password_expires_at"`
}

type projectBody struct {
	named
	Domain named `json:"domain"`
}

func encodeChecked(r *wire.Reply, i issued) {
	p := i.Principal
	body := tokenBody{
		Methods: []string{i.method}, ExpiresAt: wireTime(i.ExpiresAt), IssuedAt: wireTime(i.IssuedAt),
		User:  userBody{named: named{p.User.ID, p.User.Name}, Domain: theDomain},
		Roles: []named{},
	}
	if i.Project.ID == "" {
		body.Domain = &theDomain
	} else {
		body.Project = &projectBody{named: named{i.Project.ID, i.Project.Name}, Domain: theDomain}
	}
	if p.Role != "" {
		body.Roles = append(body.Roles, named{string(p.Role), string(p.Role)})
	}
	if !i.noCatalog {
		body.Catalog = &[]struct{}{}
	}
	r.Header = map[string]string{subjectHeader: i.token}
	write(r, map[string]tokenBody{"token": body})
}

func wireTime(t time.Time) string { return t.UTC().Format(timeFormat) }
