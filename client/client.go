// Package client is a typed client of Errand's native API (/api/v1): submitting,
// watching and cancelling tasks, the worker's side of running them, projects,
// users and access keys, instances, records and their history, backups. It signs
// its requests with an access key. For the compatible API use the
// provider's own SDKs.
//
// Errors of the server are an [*Error], which wraps an *errand.Error of the kind
// that the server gave; one that says that the server could not be reached is of
// kind errand.Unavailable. A call whose context was cancelled before the answer is
// of that kind too, and wraps context.Canceled. [errand.ErrorOf] reads both.
//
// Calls that only read, and those that may be repeated without doing any more
// ([Client.Import], [Client.Submit] and [Client.Retry] with a key,
// [Client.Finish], [Client.Extend] without a log), are tried up to three times
// when the server cannot be reached or says that it is unavailable. All others
// are tried once: when such a call fails on its way, it may have been done.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/signature"
)

// The limits of what is sent and taken, in bytes.
const (
	MaxImport = 64 << 20 // of one import

	maxAnswer = 256 << 20 // a page of the greatest number of the greatest records
	maxError  = 64 << 10
)

// answerTimeout is how long the default HTTP client waits for an answer to
// begin once a request is sent: a great import or backup takes its time.
const answerTimeout = 5 * time.Minute

// Options say where the server is and who is asking.
type Options struct {
	// Server is the address, such as https://errand.example.org:8443, without a
	// path: a signature covers the path that the server sees.
	Server string

	// Access and Secret are the halves of an access key. SecurityToken comes
	// with a temporary one.
	Access, Secret, SecurityToken string

	// HTTP sends the requests. Redirects are never followed. nil stands for a
	// client with the settings of http.DefaultTransport. A Timeout of its own
	// also ends claims that wait, backups and watches.
	HTTP *http.Client

	// UserAgent names the calling program; "" stands for "errand-client".
	UserAgent string
}

// Client calls one server on behalf of one access key. Its methods may be
// called concurrently.
type Client struct {
	base   string
	access string
	key    *signature.Key
	token  string
	agent  string
	http   *http.Client

	now  func() time.Time
	wait func(context.Context, time.Duration) error
}

// New returns a client. It calls nobody. Errors: Invalid about "server" or
// "access_key".
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errand.Errorf(errand.Invalid, "server", "the server's address must look like https://errand.example.org:8443, without a path, not %.128q", o.Server)
	}
	if o.Access == "" || o.Secret == "" {
		return nil, errand.Errorf(errand.Invalid, "access_key", "both halves of an access key are needed, access and secret")
	}
	c := &Client{
		base: u.Scheme + "://" + u.Host, access: o.Access, key: signature.NewKey(o.Secret), token: o.SecurityToken,
		agent: o.UserAgent, http: &http.Client{}, now: time.Now, wait: wait,
	}
	if c.agent == "" {
		c.agent = "errand-client"
	}
	if o.HTTP != nil {
		*c.http = *o.HTTP
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.ResponseHeaderTimeout = answerTimeout
		c.http.Transport = t
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// A call is one request of the native API.
type call struct {
	method string
	path   []string // segments below /api/v1
	query  url.Values
	in     any    // the body, as JSON, or nil
	body   []byte // the body as it is, where in is nil
	repeat bool   // may be sent again

	header map[string]string // further headers, or nil
}

// do makes a call and reads its answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	resp, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxError)) // so that the connection can be used again
		return nil
	}
	body := &io.LimitedReader{R: resp.Body, N: maxAnswer}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return k.cutOff(ctx)
		}
		if body.N <= 0 {
			return answerError(resp, errand.Errorf(errand.Internal, "answer", "the answer is longer than %d bytes", int64(maxAnswer)))
		}
		return answerError(resp, errand.Errorf(errand.Unavailable, "answer", "the answer is broken or was cut off").WithCause(err))
	}
	return nil
}

// marshal is json.Marshal without escapes that only HTML needs: parameters are
// kept, and shown, as they are sent.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// send makes a call and returns its answer if that is a success.
func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	address, err := c.address(k)
	if err != nil {
		return nil, err
	}
	if k.in != nil {
		if k.body, err = marshal(k.in); err != nil {
			return nil, errand.Errorf(errand.Invalid, "body", "the request cannot be written as JSON").WithCause(err)
		}
	}
	for try := 0; ; try++ {
		resp, err := c.once(ctx, k, address)
		if err == nil || !k.repeat || try == maxTries-1 || ctx.Err() != nil || errand.ErrorOf(err).Kind != errand.Unavailable {
			return resp, err
		}
		if c.wait(ctx, backoff(try)) != nil {
			return nil, err
		}
	}
}

func (c *Client) once(ctx context.Context, k call, address string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, k.method, address, bytes.NewReader(k.body))
	if err != nil {
		return nil, errand.Errorf(errand.Invalid, "request", "the request cannot be made").WithCause(err)
	}
	r.Header.Set("User-Agent", c.agent)
	r.Header.Set("Accept", "application/json")
	if len(k.body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, v := range k.header {
		r.Header.Set(name, v)
	}
	if c.token != "" {
		r.Header.Set(signature.TokenHeader, c.token)
	}
	if err := c.key.Sign(r, c.access, k.body, c.now()); err != nil {
		return nil, errand.Errorf(errand.Invalid, "access_key", "the request cannot be signed: %v", err)
	}
	resp, err := c.http.Do(r)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.Canceled):
		return nil, k.cutOff(ctx)
	case err != nil:
		return nil, errand.Errorf(errand.Unavailable, "server", "%s cannot be reached", c.base).WithCause(err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

// cutOff is the error of a call that its caller gave up.
func (k call) cutOff(ctx context.Context) error {
	msg := "interrupted before the server answered"
	if k.method != http.MethodGet {
		msg += "; what it was asked for may have been done, or not"
	}
	return errand.Errorf(errand.Unavailable, "request", "%s", msg).WithCause(ctx.Err())
}

// address returns the URL of a call. An empty segment would be another call.
func (c *Client) address(k call) (string, error) {
	var b strings.Builder
	b.WriteString(c.base + "/api/v1")
	for _, s := range k.path {
		if s == "" || s == "." || s == ".." {
			return "", errand.Errorf(errand.Invalid, "path", "the id or name %q of a project, instance, task, user or key cannot be", s)
		}
		b.WriteString("/" + url.PathEscape(s))
	}
	if len(k.query) > 0 {
		b.WriteString("?" + k.query.Encode())
	}
	return b.String(), nil
}

// get makes a call that only reads.
func (c *Client) get(ctx context.Context, out any, query url.Values, path ...string) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query, repeat: true}, out)
}

func (c *Client) post(ctx context.Context, in, out any, path ...string) error {
	return c.do(ctx, call{method: http.MethodPost, path: path, in: in}, out)
}

func (c *Client) delete(ctx context.Context, path ...string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: path}, nil)
}
