package console

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/wire"
)

// The bounds of signing in. Only tries that fail count: for each name that is tried
// from a network, and, because a proxy may make many people one, not as tightly
// for all names from it.
const (
	tryBurst   = 10
	tryEvery   = 6 * time.Second
	allBurst   = 200
	allEvery   = time.Second / 2
	maxTryFrom = 10_000 // names and networks that are remembered
)

// tries holds back those who guess.
type tries struct {
	mu  sync.Mutex
	all map[string]*rate.Limiter
}

func newTries() *tries { return &tries{all: map[string]*rate.Limiter{}} }

// begin takes a try for a name from an address, or says how long to wait for one.
// A try that succeeds is given back.
func (t *tries) begin(from, name string, now time.Time) (giveBack func(), wait time.Duration) {
	from = network(from)
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.of(from, rate.Every(allEvery), allBurst, now).ReserveN(now, 1)
	one := t.of(from+" "+name[:min(len(name), maxTryName)], rate.Every(tryEvery), tryBurst, now).ReserveN(now, 1)
	giveBack = func() { all.CancelAt(now); one.CancelAt(now) }
	if wait = max(all.DelayFrom(now), one.DelayFrom(now)); wait > 0 {
		giveBack()
		return nil, wait
	}
	return giveBack, 0
}

// maxTryName is how much of a name tells it from others, in bytes.
const maxTryName = 64

func (t *tries) of(key string, every rate.Limit, burst int, now time.Time) *rate.Limiter {
	l := t.all[key]
	if l == nil {
		if len(t.all) >= maxTryFrom {
			t.forget(now)
		}
		l = rate.NewLimiter(every, burst)
		t.all[key] = l
	}
	return l
}

// network is whom tries are counted against: an address of IPv4, and of IPv6 the
// network of 64 bits, in which anybody has as many addresses as they like.
func network(from string) string {
	a, err := netip.ParseAddr(from)
	if err != nil || a.Is4() || a.Is4In6() {
		return from
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return from
	}
	return p.String()
}

// forget drops what has all its tries again, or any if nothing has.
func (t *tries) forget(now time.Time) {
	for key, l := range t.all {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(t.all, key)
		}
	}
	for from := range t.all {
		if len(t.all) < maxTryFrom {
			return
		}
		delete(t.all, from)
	}
}

// cookieName is apart for each port: several servers on one machine share the
// cookies of its name.
func cookieName(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		return "errand-" + port
	}
	return "errand"
}

// cookie returns a cookie for all of the console. It has no path: the browser
// takes that of the address, which ends at the root for every page that sets one,
// whatever a proxy put before it.
func cookie(r *http.Request, name, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, MaxAge: int(age / time.Second), SameSite: http.SameSiteLaxMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

func sessionCookie(r *http.Request, token string, age time.Duration) *http.Cookie {
	k := cookie(r, cookieName(r), token, age)
	k.HttpOnly = true
	return k
}

func tokenOf(r *http.Request) string {
	k, err := r.Cookie(cookieName(r))
	if err != nil {
		return ""
	}
	return k.Value
}

// identify finds out who asks.
func (c *Console) identify(v *visit) error {
	token := tokenOf(v.Request)
	if token == "" {
		return errand.Errorf(errand.Unauthenticated, "credentials", "nobody is signed in")
	}
	s, err := c.Directory.Session(v.Context(), token)
	if err != nil {
		return err
	}
	x := wire.ExchangeOf(v.Request)
	v.session, v.who = s, s.Principal
	v.who.Request, v.who.Remote = x.ID, wire.RemoteOf(v.Request)
	x.Principal = v.who
	return nil
}

// turnAway answers somebody who is not signed in, or not any more. Who has filled
// in a form is not sent away from it.
func (c *Console) turnAway(w http.ResponseWriter, v *visit, err error) {
	e := errand.ErrorOf(err)
	if e.Kind != errand.Unauthenticated && !(e.Kind == errand.Forbidden && e.Subject == "role") {
		c.fail(w, v, err)
		return
	}
	wire.ExchangeOf(v.Request).Err = err
	// The cookie stays until somebody signs in or out: a new one may be on its way.
	ended := tokenOf(v.Request) != ""
	switch {
	case v.Method != http.MethodGet || v.URL.Path == "/live":
		c.fail(w, v, errand.Errorf(errand.Unauthenticated, "session", "your session has ended and nothing was done; sign in again in another window, then send the form once more"))
	case ended:
		goTo(w, v.Request, "signin?ended=1&next="+next(v.Request))
	default:
		goTo(w, v.Request, "signin?next="+next(v.Request))
	}
}

// next is the address of r below the root, fit for a query.
func next(r *http.Request) string {
	return url.QueryEscape(strings.TrimPrefix(r.URL.RequestURI(), "/"))
}

// safeNext returns an address that a form has carried, if it is one of ours: ""
// is the root.
func safeNext(s string) string {
	u, err := url.Parse("/" + s)
	if err != nil || u.Host != "" || strings.HasPrefix(s, "/") || strings.ContainsAny(s, "\\\r\n\t") || !owns(u.Path) || strings.Contains(u.Path, "..") {
		return ""
	}
	return strings.TrimPrefix(u.RequestURI(), "/")
}

type signInView struct {
	frame
	Next    string
	ByKey   bool   // the form for access keys
	User    string // what was typed before
	Access  string
	Problem string
	Ended   bool
}

func (c *Console) signInPage(v *visit) (reply, error) {
	q := v.URL.Query()
	if err := c.identify(v); err == nil {
		return reply{to: safeNext(q.Get("next"))}, nil
	}
	view := signInView{frame: c.frame(v, "Sign in", ""), Next: safeNext(q.Get("next")), ByKey: q.Get("by") == "key", Ended: q.Has("ended")}
	return reply{page: "signin", view: view}, nil
}

func (c *Console) signIn(v *visit) (reply, error) {
	f := v.PostForm
	view := signInView{
		frame: c.frame(v, "Sign in", ""), Next: safeNext(f.Get("next")), ByKey: f.Get("by") == "key",
		User: f.Get("user"), Access: f.Get("access"),
	}
	name := "user " + strings.TrimSpace(view.User)
	if view.ByKey { // what the form is not about must not make another name of it
		name = "key " + strings.TrimSpace(view.Access)
	}
	giveBack, wait := c.tries.begin(wire.RemoteOf(v.Request), name, c.Now())
	if wait > 0 {
		view.Problem = v.look.t("Too many tries. Wait %s, then try again.", v.look.duration(wait+time.Second))
		return reply{page: "signin", view: view, status: http.StatusTooManyRequests}, nil
	}
	token, s, err := c.session(v, view)
	if e := errand.ErrorOf(err); e != nil {
		wire.ExchangeOf(v.Request).Err = err
		if e.Kind != errand.Unauthenticated {
			giveBack()
		}
		if e.Kind == errand.Internal {
			return reply{}, err
		}
		view.Problem = c.signInProblem(v, e, view.ByKey)
		return reply{page: "signin", view: view, status: statusOf(e)}, nil
	}
	giveBack()
	to := view.Next
	if s.Principal.Project == "" {
		to = "project?next=" + url.QueryEscape(view.Next)
	}
	return reply{to: to, cookies: []*http.Cookie{sessionCookie(v.Request, token, s.ExpiresAt.Sub(c.Now()))}}, nil
}

// session exchanges what was typed for a session. Who has a role in one project
// only is in it at once.
func (c *Console) session(v *visit, view signInView) (string, auth.Session, error) {
	ctx, f := v.Context(), v.PostForm
	if view.ByKey {
		return c.Directory.KeyToken(ctx, strings.TrimSpace(view.Access), strings.TrimSpace(f.Get("secret")), strings.TrimSpace(f.Get("security_token")))
	}
	token, s, err := c.Directory.PasswordToken(ctx, strings.TrimSpace(view.User), f.Get("password"), auth.Scope{})
	if err != nil {
		return "", s, err
	}
	projects, err := c.Directory.OwnProjects(ctx, s.Principal)
	if err != nil {
		return "", s, err
	}
	switch len(projects) {
	case 0:
		if err := c.Directory.EndSession(ctx, token); err != nil {
			return "", s, err
		}
		return "", s, errand.Errorf(errand.Forbidden, "project", "the user has no role in any project")
	case 1:
		return c.rescope(v, token, projects[0].ID)
	}
	return token, s, nil
}

// rescope exchanges a token for one in a project, and ends it.
func (c *Console) rescope(v *visit, token, project string) (string, auth.Session, error) {
	scoped, s, err := c.Directory.Rescope(v.Context(), token, auth.Scope{ProjectID: project})
	if err != nil {
		return "", s, err
	}
	return scoped, s, c.Directory.EndSession(v.Context(), token)
}

func (c *Console) signInProblem(v *visit, e *errand.Error, byKey bool) string {
	switch {
	case e.Kind == errand.Unauthenticated && byKey:
		return v.look.t("The access key or its secret is wrong, or the key has been revoked.")
	case e.Kind == errand.Unauthenticated:
		return v.look.t("The user name or the password is wrong.")
	case e.Kind == errand.Forbidden:
		return v.look.t("You have no role in any project. An admin can give you one.")
	}
	return e.Msg
}

func (c *Console) signOut(v *visit) (reply, error) {
	gone := []*http.Cookie{sessionCookie(v.Request, "", -time.Second)}
	if token := tokenOf(v.Request); token != "" {
		if err := c.Directory.EndSession(v.Context(), token); err != nil {
			return reply{}, err
		}
	}
	return reply{to: "signin", cookies: gone}, nil
}

type projectView struct {
	frame
	Next     string
	Projects []auth.Project
}

// ownProjects lists the projects that the session can be moved to. One that was
// made with an access key stays in the key's.
func (c *Console) ownProjects(v *visit) ([]auth.Project, error) {
	who := v.who
	if v.session.Access == "" {
		who.Project = ""
	}
	return c.Directory.OwnProjects(v.Context(), who)
}

func (c *Console) chooseProject(v *visit) (reply, error) {
	projects, err := c.ownProjects(v)
	if err != nil {
		return reply{}, err
	}
	return reply{page: "project", view: projectView{frame: c.frame(v, "Choose a project", ""), Next: safeNext(v.URL.Query().Get("next")), Projects: projects}}, nil
}

func (c *Console) openProject(v *visit) (reply, error) {
	token, s, err := c.rescope(v, tokenOf(v.Request), v.PostForm.Get("project"))
	if err != nil {
		return reply{}, err
	}
	return reply{to: safeNext(v.PostForm.Get("next")), cookies: []*http.Cookie{sessionCookie(v.Request, token, s.ExpiresAt.Sub(c.Now()))}}, nil
}
