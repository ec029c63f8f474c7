package wire

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/errandhq/errand"
)

// Family is a group of dialects that share a host at the provider: DMS serves
// three engines, DCS one.
type Family struct {
	Name string
	// Base answers what is not about a known instance.
	Base *Dialect
	// ByEngine answers what is about an instance of an engine of the family.
	ByEngine map[errand.Engine]*Dialect
}

// Router picks the dialect that answers a request. DMS and DCS use the same
// paths, so a path alone cannot tell them apart: first the listener or the Host
// header decides, else the engine of the instance that the path names, looked
// up once the caller is known, else the default.
type Router struct {
	Auth Authenticator

	// Instance finds the instance whose engine decides; see Remember.
	Instance Finder

	// Families are the compatible products. Default is one of their names.
	Families []*Family
	Default  string

	// Hosts maps a Host header, with or without its port, to a family's name.
	Hosts map[string]string

	// Native answers below /api/, Identity below /v3/ and /v5/.
	Native, Identity *Dialect

	// Pages answer what they own, on listeners and hosts that are bound to no
	// family. Nil: there are none.
	Pages Pages
}

// Pages are what people see in place of the calls of an API.
type Pages interface {
	http.Handler
	Owns(path string) bool
	Fail(w http.ResponseWriter, r *http.Request, err error)
}

// projectRoutes are the calls below a project that only one family has. The
// key is the path's third segment, as in /v2/{project_id}/tasks.
var projectRoutes = map[string]string{"tasks": "dcs", "jobs": "dcs"}

// ServeHTTP answers r in the dialect that it is meant for.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d := rt.prefixed(r.URL.Path); d != nil {
		if strings.Contains(r.URL.Path, "//") {
			// Whether this must succeed is the route's to say; it asks again.
			_ = authenticate(rt.Auth, r, ExchangeOf(r))
		}
		d.ServeHTTP(w, collapse(r))
		return
	}
	family, bound := rt.family(r)
	if rt.paged(r, bound) {
		rt.Pages.ServeHTTP(w, r)
		return
	}
	segments := split(r)
	if len(segments) < 3 || segments[0] != "v2" {
		family.Base.ServeHTTP(w, collapse(r))
		return
	}
	if err := authenticate(rt.Auth, r, ExchangeOf(r)); err != nil {
		family.Base.Fail(w, r, err)
		return
	}
	d := family.Base
	switch {
	case segments[2] == "instances" && len(segments) > 3:
		d = rt.byInstance(r, family, bound, segments[1], segments[3])
	case !bound:
		if only := rt.named(projectRoutes[segments[2]]); only != nil {
			d = only.Base
		}
	}
	d.ServeHTTP(w, collapse(r))
}

// byInstance returns the dialect for the engine of an instance. On a host that
// is bound to a family, the instances of the others do not exist.
func (rt *Router) byInstance(r *http.Request, family *Family, bound bool, project, instance string) *Dialect {
	i, err := rt.Instance(r.Context(), ExchangeOf(r).Principal, project, instance)
	if err != nil {
		return family.Base // the call itself finds out what is wrong and says so
	}
	if d := family.ByEngine[i.Engine]; d != nil {
		return d
	}
	if bound {
		return family.Base.hiding(instance)
	}
	for _, f := range rt.Families {
		if d := f.ByEngine[i.Engine]; d != nil {
			return d
		}
	}
	return family.Base
}

// hiding returns a dialect that answers every route of d with "no such
// instance".
func (d *Dialect) hiding(instance string) *Dialect {
	h := New(d.Name, d.Failures, d.AppendError, d.Auth)
	h.mux = http.NewServeMux()
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := d.mux.Handler(r); pattern == "/" {
			d.noRoute(w, r)
			return
		}
		h.Fail(w, r, errand.Errorf(errand.NotFound, "instance", "instance %s does not exist", instance))
	})
	return h
}

// Fail answers r with err in the words of the dialect that would have answered
// it, as far as that can be told without knowing the caller.
func (rt *Router) Fail(w http.ResponseWriter, r *http.Request, err error) {
	if d := rt.prefixed(r.URL.Path); d != nil {
		d.Fail(w, r, err)
		return
	}
	family, bound := rt.family(r)
	if rt.paged(r, bound) {
		rt.Pages.Fail(w, r, err)
		return
	}
	family.Base.Fail(w, r, err)
}

// paged reports whether r is for a page.
func (rt *Router) paged(r *http.Request, bound bool) bool {
	return rt.Pages != nil && !bound && rt.Pages.Owns(r.URL.Path)
}

func (rt *Router) prefixed(path string) *Dialect {
	path = strings.TrimLeft(path, "/")
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "api":
		return rt.Native
	case "v3", "v5":
		return rt.Identity
	}
	return nil
}

// family returns the family of the listener or host of r, and whether one of
// them is bound to it.
func (rt *Router) family(r *http.Request) (*Family, bool) {
	if f := rt.named(ExchangeOf(r).Listener); f != nil {
		return f, true
	}
	if len(rt.Hosts) > 0 {
		host := strings.ToLower(r.Host)
		if f := rt.named(rt.Hosts[host]); f != nil {
			return f, true
		}
		if name, _, err := net.SplitHostPort(host); err == nil {
			if f := rt.named(rt.Hosts[name]); f != nil {
				return f, true
			}
		}
	}
	if f := rt.named(rt.Default); f != nil {
		return f, false
	}
	return rt.Families[0], false
}

func (rt *Router) named(name string) *Family {
	if name == "" {
		return nil
	}
	for _, f := range rt.Families {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// split returns the decoded segments of the path, without empty ones.
func split(r *http.Request) []string {
	segments := make([]string, 0, 8)
	for rest := r.URL.EscapedPath(); rest != "" && len(segments) < cap(segments); {
		var s string
		s, rest, _ = strings.Cut(rest, "/")
		if s == "" {
			continue
		}
		if u, err := url.PathUnescape(s); err == nil {
			s = u
		}
		segments = append(segments, s)
	}
	return segments
}

// collapse returns r with doubled slashes in its path made single: some clients
// join an endpoint that ends in one with a path that begins with one. The
// signature covers the path as it was sent, so this comes after authentication.
func collapse(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.Path, "//") {
		return r
	}
	c := *r
	u := *r.URL
	u.Path, u.RawPath = squeeze(u.Path), squeeze(u.RawPath)
	c.URL = &u
	return &c
}

func squeeze(p string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}
