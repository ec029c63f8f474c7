// Package console is the web console: pages for people, made on the server from
// typed views and embedded templates. Everything that it shows and does goes
// through the services that the APIs use, as the person who is signed in.
//
// All addresses in its pages are relative, so that it works below any path that a
// proxy strips. Reading works without JavaScript; with it, pages follow what
// changes.
package console

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// Name is what the console is called in logs and metrics, beside the dialects.
const Name = "console"

// Deps is what the console is made of. All members must be set.
type Deps struct {
	Tasks     *tasks.Service
	Runs      *tasks.Runs
	Directory *auth.Directory

	// Find finds the instances that rows of tables name. It may remember them for
	// a while.
	Find wire.Finder

	// Operations lists what may be submitted, which does not change.
	Operations func() []errand.Operation

	OpenAPI []byte // the description of the HTTP API, as YAML
	Now     func() time.Time
	Version string
}

// Console answers the requests for pages. Create it with New.
type Console struct {
	Deps
	mux       *http.ServeMux
	pages     *pages
	words     *words
	static    *static
	guard     *http.CrossOriginProtection
	tries     *tries
	reference *reference
	catalog   catalog
	watching  watching
}

// New returns a console. It panics if what is embedded in the program is broken,
// which a test finds first.
func New(deps Deps) *Console {
	c := &Console{
		Deps: deps, mux: http.NewServeMux(), words: newWords(), static: newStatic(),
		guard: http.NewCrossOriginProtection(), tries: newTries(), reference: newReference(deps.OpenAPI), catalog: catalogOf(deps.Operations()),
	}
	c.pages = newPages(c.static)
	c.routes()
	return c
}

// owned are the first segments of the console's paths, beside the root.
var owned = []string{"signin", "signout", "settings", "project", "instances", "tasks", "submit", "operations",
	"workers", "users", "keys", "reference", "live", "static", "favicon.ico", "robots.txt"}

// Owns reports whether a path is one of the console's. No call of an API has one
// of these.
func (c *Console) Owns(path string) bool { return owns(path) }

func owns(path string) bool {
	below, ok := strings.CutPrefix(path, "/")
	first, _, _ := strings.Cut(below, "/")
	return ok && (below == "" || slices.Contains(owned, first))
}

func (c *Console) routes() {
	c.open("GET /signin", c.signInPage)
	c.open("POST /signin", c.signIn)
	c.open("POST /signout", c.signOut)
	c.open("POST /settings", c.settings)
	c.mux.HandleFunc("GET /static/{file}", c.serveStatic)
	c.mux.HandleFunc("GET /favicon.ico", c.serveStatic)
	c.mux.HandleFunc("GET /robots.txt", c.serveStatic)

	c.unscoped("GET /project", c.chooseProject)
	c.unscoped("POST /project", c.openProject)

	c.page("GET /{$}", c.overview)
	c.page("GET /instances", c.instances)
	c.page("POST /instances", c.register)
	c.page("GET /instances/{instance}", c.instance)
	c.page("GET /tasks", c.taskList)
	c.page("GET /tasks/{task}", c.task)
	c.page("GET /tasks/{task}/log", c.log)
	for _, a := range acts() {
		c.page("GET /tasks/{task}/"+a.path, c.confirm(a))
		c.page("POST /tasks/{task}/"+a.path, c.act(a))
	}
	c.page("GET /submit", c.submitPage)
	c.page("POST /submit", c.submit)
	c.page("GET /operations", c.operations)
	c.page("GET /operations/{engine}/{operation}", c.operation)
	c.page("GET /workers", c.workers)
	c.page("GET /users", c.users)
	c.page("POST /users", c.addUser)
	c.page("GET /users/{name}", c.user)
	c.page("POST /users/{name}", c.changeUser)
	c.page("POST /users/{name}/keys", c.addKey)
	c.page("GET /keys/{access}/revoke", c.confirmRevoke)
	c.page("POST /keys/{access}/revoke", c.revokeKey)
	c.page("GET /reference", c.referencePage)
	c.page("GET /live", c.live)
	c.mux.HandleFunc("/", c.noPage)
}

// ServeHTTP answers a request for a path that Owns names.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := wire.ExchangeOf(r)
	x.Dialect = Name
	secure(w.Header())
	if err := c.guard.Check(r); err != nil {
		c.Fail(w, r, errand.Errorf(errand.Forbidden, "origin", "the form was sent from another site; open the page here and send it again").WithCause(err))
		return
	}
	if path.Clean(r.URL.Path) != strings.TrimSuffix(r.URL.Path, "/") && r.URL.Path != "/" { // or the mux would send the browser elsewhere
		c.noPage(w, r)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// secure sets the headers that keep a browser from doing with a page what it is
// not meant for.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store") // pages show what not everybody may see
}

// visit is one request for a page, of somebody who is signed in unless the page
// is open to all.
type visit struct {
	*http.Request
	who     errand.Principal
	session auth.Session
	look    look
}

// project is the id of the project that is looked at.
func (v *visit) project() string { return v.who.Project }

// reply is what a handler answers: a page, another address or something of its
// own.
type reply struct {
	page   string // name of the template; "" for none
	view   any
	status int // 0: 200

	// to is where to go in place of a page, from the console's root, which is "".
	to      string
	cookies []*http.Cookie

	// write answers in a form of its own, in place of a page.
	write func(http.ResponseWriter)
}

// handler answers a request for a page.
type handler func(v *visit) (reply, error)

// open adds a page for everybody.
func (c *Console) open(pattern string, h handler) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		wire.ExchangeOf(r).Route = pattern
		c.answer(w, &visit{Request: r, look: c.lookOf(r)}, h)
	})
}

// unscoped adds a page for those who are signed in, in a project or in none yet.
func (c *Console) unscoped(pattern string, h handler) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		wire.ExchangeOf(r).Route = pattern
		v := &visit{Request: r, look: c.lookOf(r)}
		if err := c.identify(v); err != nil {
			c.turnAway(w, v, err)
			return
		}
		c.answer(w, v, h)
	})
}

// page adds a page for those who are signed in to a project.
func (c *Console) page(pattern string, h handler) {
	c.unscoped(pattern, func(v *visit) (reply, error) {
		if v.who.Project == "" {
			return reply{to: "project?next=" + next(v.Request)}, nil
		}
		return h(v)
	})
}

// answer sends what h has to say.
func (c *Console) answer(w http.ResponseWriter, v *visit, h handler) {
	if v.Method == http.MethodPost {
		if err := parseForm(w, v.Request); err != nil {
			c.fail(w, v, err)
			return
		}
	}
	a, err := reply{}, seen(v)
	if err == nil {
		a, err = h(v)
	}
	for _, k := range a.cookies {
		http.SetCookie(w, k)
	}
	switch {
	case err != nil:
		c.fail(w, v, err)
	case a.write != nil:
		a.write(w)
	case a.page != "":
		c.render(w, v, a)
	default:
		goTo(w, v.Request, a.to)
	}
}

// seen refuses a form that was made for another project than the session is in by
// now: somebody has changed it in another window.
func seen(v *visit) error {
	if was := v.PostForm.Get("seen"); was != "" && was != v.project() {
		return errand.Errorf(errand.Conflict, "project", "you have changed to another project in another window; go back to the page, load it anew and send the form again")
	}
	return nil
}

// maxForm is how long a form may be. The longest has the parameters of a task.
const maxForm = 1 << 20

func parseForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return errand.Errorf(errand.Invalid, "form", "the form could not be read; it may have at most %d bytes", maxForm).WithCause(err)
	}
	return nil
}

// goTo sends a browser to an address below the console's root. http.Redirect
// would make it absolute, and knows nothing of the path that a proxy stripped.
func goTo(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Location", root(r.URL.EscapedPath())+to)
	w.WriteHeader(http.StatusSeeOther)
}

// root is the way from a path up to the console's root, as in "../".
func root(path string) string {
	if n := strings.Count(path, "/"); n > 1 {
		return strings.Repeat("../", n-1)
	}
	return "./"
}

func (c *Console) noPage(w http.ResponseWriter, r *http.Request) {
	c.Fail(w, r, errand.Errorf(errand.NotFound, "url", "there is no page here"))
}
