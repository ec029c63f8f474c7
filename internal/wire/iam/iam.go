// Package iam is the part of the provider's identity service (IAM and STS) that
// its SDKs and its Terraform provider call by themselves: to find the id of a
// project from its name, the id of the account, and to get a token.
//
// A server has one account, called a domain on the wire.
package iam

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/wire"
)

// Name is the name of the dialect.
const Name = "iam"

// The account that every project and user belongs to. Its id only has to stay
// the same, because clients cache it.
const (
	DomainID   = "6522cf7814f326a71cbe726b6152dcf2"
	DomainName = "errand"
)

// named is how the API refers to a thing.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

var theDomain = named{ID: DomainID, Name: DomainName}

// New returns the dialect. who must know the credentials of dir.
func New(dir *auth.Directory, who wire.Authenticator) *wire.Dialect {
	d := wire.New(Name, failures, appendError, who)
	wire.Handle(d, "GET /v3/projects", decodeName, // KeystoneListProjects
		func(ctx context.Context, p errand.Principal, name string) ([]auth.Project, error) {
			return projects(ctx, dir, p, name)
		}, encodeProjects)
	wire.Handle(d, "GET /v3/auth/domains", decodeNothing, // KeystoneListAuthDomains
		func(context.Context, errand.Principal, struct{}) (struct{}, error) { return struct{}{}, nil }, encodeDomains)
	wire.Handle(d, "GET /v5/caller-identity", decodeNothing, // GetCallerIdentity
		func(_ context.Context, p errand.Principal, _ struct{}) (errand.User, error) { return p.User, nil }, encodeCaller)
	t := tokens{dir}
	wire.HandlePublic(d, "POST /v3/auth/tokens", decodeGrant, t.issue, encodeIssued) // KeystoneCreateUserTokenByPassword
	wire.Handle(d, "GET /v3/auth/tokens", decodeSubject, t.check, encodeChecked)     // KeystoneValidateToken
	return d
}

func decodeNothing(*http.Request) (struct{}, error) { return struct{}{}, nil }

func decodeName(r *http.Request) (string, error) {
	q := wire.NewQuery(r)
	name := q.String("name")
	return name, q.Err()
}

// projects returns the caller's projects with the given name, or all. SDKs that
// are given a region ask for a project of its name, and take neither none nor
// two for an answer.
func projects(ctx context.Context, dir *auth.Directory, p errand.Principal, name string) ([]auth.Project, error) {
	own, err := dir.OwnProjects(ctx, p)
	if err != nil || name == "" {
		return own, err
	}
	for _, x := range own {
		if x.Name == name {
			return []auth.Project{x}, nil
		}
	}
	return nil, nil
}

type links struct {
	Self     string  `json:"self"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
}

func encodeProjects(r *wire.Reply, list []auth.Project) {
	type project struct {
		named
		DomainID    string `json:"domain_id"`
		ParentID    string `json:"parent_id"`
		Description string `json:"description"`
		Enabled     bool   `json:"enabled"`
		IsDomain    bool   `json:"is_domain"`
	}
	body := struct {
		Projects []project `json:"projects"`
		Links    links     `json:"links"`
	}{Projects: make([]project, 0, len(list)), Links: links{Self: "/v3/projects"}}
	for _, p := range list {
		body.Projects = append(body.Projects, project{
			named: named{p.ID, p.Name}, DomainID: DomainID, ParentID: DomainID, Enabled: true,
		})
	}
	write(r, body)
}

func encodeDomains(r *wire.Reply, _ struct{}) {
	type account struct {
		named
		Description string `json:"description"`
		Enabled     bool   `json:"enabled"`
	}
	write(r, struct {
		Domains []account `json:"domains"`
		Links   links     `json:"links"`
	}{[]account{{named: theDomain, Enabled: true}}, links{Self: "/v3/auth/domains"}})
}

// encodeCaller writes strings only: an SDK reads this body into a map of them.
func encodeCaller(r *wire.Reply, u errand.User) {
	write(r, map[string]string{
		"account_id":    DomainID,
		"principal_id":  u.ID,
		"principal_urn": "iam::" + DomainID + ":user:" + u.Name,
	})
}

// write puts v into the reply. The types of this package always encode.
func write(r *wire.Reply, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	r.Body = append(r.Body, b...)
}
