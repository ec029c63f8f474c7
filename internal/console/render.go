package console

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

//go:embed templates/*.html
var templateFiles embed.FS

// pages holds the parsed template of every page.
type pages struct{ all map[string]*template.Template }

// newPages parses the templates: each page with the layout and the parts that
// all may use.
func newPages(s *static) *pages {
	p := &pages{all: map[string]*template.Template{}}
	shared := template.Must(template.New("").Option("missingkey=error").Funcs(template.FuncMap{"number": number}).
		ParseFS(templateFiles, "templates/layout.html", "templates/parts.html"))
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		p.all[page] = template.Must(template.Must(shared.Clone()).ParseFS(templateFiles, name))
	}
	return p
}

// render sends a page, whole or not at all.
func (c *Console) render(w http.ResponseWriter, v *visit, a reply) {
	var b bytes.Buffer
	if err := c.pages.all[a.page].ExecuteTemplate(&b, "layout", a.view); err != nil {
		c.fail(w, v, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Vary", "Cookie, Accept-Language")
	if a.status == 0 {
		a.status = http.StatusOK
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(b.Bytes()) // a browser that has gone is no fault
}

// statuses are what errors are on the wire.
var statuses = map[errand.Kind]int{
	errand.Internal:        http.StatusInternalServerError,
	errand.Invalid:         http.StatusBadRequest,
	errand.Unauthenticated: http.StatusUnauthorized,
	errand.Forbidden:       http.StatusForbidden,
	errand.NotFound:        http.StatusNotFound,
	errand.Conflict:        http.StatusConflict,
	errand.LeaseLost:       http.StatusConflict,
	errand.Unavailable:     http.StatusServiceUnavailable,
}

func statusOf(e *errand.Error) int {
	switch e.Subject {
	case "method":
		return http.StatusMethodNotAllowed
	case "body_size":
		return http.StatusRequestEntityTooLarge
	}
	return statuses[e.Kind]
}

// headlines say what kind of error it is.
var headlines = map[errand.Kind]string{
	errand.Internal:        "Something went wrong on the server",
	errand.Invalid:         "This cannot be done as it was asked for",
	errand.Unauthenticated: "Please sign in again",
	errand.Forbidden:       "You may not do this",
	errand.NotFound:        "This does not exist",
	errand.Conflict:        "This cannot be done now",
	errand.LeaseLost:       "This cannot be done now",
	errand.Unavailable:     "The server cannot answer now",
}

type errorView struct {
	frame
	Headline, Message string
	SignIn            bool
}

// Fail answers r with a page that says what happened and carries the request id.
func (c *Console) Fail(w http.ResponseWriter, r *http.Request, err error) {
	secure(w.Header())
	c.fail(w, &visit{Request: r, look: c.lookOf(r)}, err)
}

func (c *Console) fail(w http.ResponseWriter, v *visit, err error) {
	x := wire.ExchangeOf(v.Request)
	x.Dialect, x.Err = Name, err
	e := errand.ErrorOf(err)
	view := errorView{frame: c.frame(v, headlines[e.Kind], ""), Message: v.look.t(clean(e.Msg, cutLine)), SignIn: e.Kind == errand.Unauthenticated}
	view.Headline = view.Title
	if e.Kind == errand.Internal {
		view.Message = v.look.t("The cause is in the server's log, under the id of this request.")
	}
	var b bytes.Buffer
	if err := c.pages.all["error"].ExecuteTemplate(&b, "layout", view); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(statusOf(e))
	_, _ = w.Write(b.Bytes())
}
