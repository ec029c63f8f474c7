// Package openapitest holds what a handler under test is asked and answers
// against api/openapi.yaml, so that the document cannot drift from the code. It
// is for tests only.
package openapitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/errandhq/errand/api"
)

// maxKept is how much of a request's or an answer's body is kept to be looked
// at. What is longer is passed on and not checked.
const maxKept = 16 << 20

// shared is the document, loaded once for all tests of a package.
var shared = sync.OnceValues(func() (*document, error) { return load(api.OpenAPI) })

// Wrap returns h with a check around it. It reports through t:
//
//   - a request that the document does not allow, unless the answer refuses it
//     for that (401 where credentials are missing, 400 where a parameter is bad);
//   - an answer whose status, content type, headers or body the document does
//     not have for the operation, a body with members that it does not name
//     included;
//   - a success or a redirect where the document has no operation, and an error
//     there whose body is none of the documented ones.
//
// Parameters that the document does not name are passed over, as the server
// does. A request body is checked as far as h has read it to its end.
func Wrap(t testing.TB, h http.Handler) http.Handler {
	t.Helper()
	doc, err := shared()
	if err != nil {
		t.Fatalf("openapitest: %v", err)
	}
	return doc.wrap(t, h)
}

func (d *document) wrap(t testing.TB, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := *r // handlers change the request as it goes through them
		url := *r.URL
		asked.URL, asked.Header = &url, r.Header.Clone()
		inner := *r
		var in *bodyReader
		if r.Body != nil && r.Body != http.NoBody {
			in = &bodyReader{ReadCloser: r.Body}
			inner.Body = in
		}
		out := &answer{ResponseWriter: w}
		h.ServeHTTP(out, &inner)
		if out.status == 0 {
			out.status, out.header = http.StatusOK, w.Header().Clone()
		}
		for _, problem := range d.check(&asked, in, out) {
			t.Errorf("openapitest: %s %s answered %d: %s", r.Method, r.URL.RequestURI(), out.status, problem)
		}
	})
}

// check returns what is wrong with an exchange, one line or more for each
// finding.
func (d *document) check(r *http.Request, in *bodyReader, out *answer) []string {
	op, values := d.find(r.Method, r.URL)
	if op == nil {
		return d.checkUndocumented(r.Method, out)
	}
	var problems []string
	for _, p := range op.checkRequest(r, values, in) {
		if !slices.Contains(p.refusal, out.status) {
			problems = append(problems, op.id+": the document does not allow this request: "+p.text)
		}
	}
	for _, p := range op.checkAnswer(r.Method, out) {
		problems = append(problems, op.id+": "+p)
	}
	return problems
}

// checkUndocumented checks an answer to what the document has no operation for.
func (d *document) checkUndocumented(method string, out *answer) []string {
	if out.status < 400 {
		return []string{"the document has no such operation"}
	}
	var problems []string
	if err := d.requestID.check(out.header.Values(d.requestID.name)); err != nil {
		problems = append(problems, fmt.Sprintf("the answer's %v", err))
	}
	if out.status == http.StatusMethodNotAllowed && out.header.Get("Allow") == "" {
		problems = append(problems, "the answer does not say which methods are allowed")
	}
	if method == http.MethodHead {
		return problems
	}
	content := map[string]*body{"application/json": d.anyError}
	if err := checkBody(content, out.header.Get("Content-Type"), &out.kept); err != nil {
		problems = append(problems, fmt.Sprintf("the answer is no documented error: %v", err))
	}
	return problems
}

// kept is the beginning of a body.
type kept struct {
	bytes.Buffer
	cut bool // there was more
}

func (k *kept) add(p []byte) {
	if n := maxKept - k.Len(); len(p) > n {
		p, k.cut = p[:n], true
	}
	k.Write(p)
}

// bodyReader keeps what is read of a request's body.
type bodyReader struct {
	io.ReadCloser
	kept kept
	done bool // read to its end
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.kept.add(p[:n])
	b.done = b.done || err == io.EOF
	return n, err
}

// answer keeps what is written as an answer.
type answer struct {
	http.ResponseWriter
	status int
	header http.Header // as it was when the status was written
	kept   kept
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status, a.header = status, a.Header().Clone()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status, a.header = http.StatusOK, a.Header().Clone()
	}
	a.kept.add(p)
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// indent sets the lines after the first of a validator's message apart.
func indent(err error) string { return strings.ReplaceAll(err.Error(), "\n", "\n    ") }
