package openapitest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is an OpenAPI document made ready for checks. Its schemas are
// compiled once, as JSON Schema 2020-12, which is what OpenAPI 3.1 says they
// are.
type document struct {
	spec       *openapi3.T
	operations []*operation

	// What every error has, those for addresses that are not there included.
	anyError  *body
	requestID param
}

type operation struct {
	id       string
	method   string
	segments []string // of the path; "{name}" stands for one that varies

	params   []param
	security [][]string // header sets, one of which a request must have; nil: none needed
	required bool       // the request's body
	request  map[string]*body
	answers  map[int]*response
}

type param struct {
	in, name, kind string // kind is the schema's type
	required       bool
	schema         *jsonschema.Schema
}

type response struct {
	headers []param
	content map[string]*body // by media type; nil: no body
}

type body struct {
	schema   *jsonschema.Schema // nil: anything
	sequence bool               // any number of JSON values, one after another
}

// load reads and validates a document.
func load(data []byte) (*document, error) {
	loader := openapi3.NewLoader()
	spec, err := loader.LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("the document cannot be read: %w", err)
	}
	if !spec.IsOpenAPI31OrLater() {
		return nil, fmt.Errorf("the document is OpenAPI %s, not 3.1", spec.OpenAPI)
	}
	if err := spec.Validate(context.Background(), openapi3.IsOpenAPI31OrLater(), openapi3.EnableExamplesValidation(), openapi3.EnableMultiError()); err != nil {
		return nil, fmt.Errorf("the document is not valid: %w", err)
	}
	c, err := newCompiler(spec)
	if err != nil {
		return nil, err
	}
	d := &document{spec: spec}
	for _, path := range spec.Paths.InMatchingOrder() {
		item := spec.Paths.Value(path)
		for method, o := range item.Operations() {
			d.operations = append(d.operations, c.operation(method, path, item, o))
		}
	}
	d.anyError = &body{schema: c.component("AnyError")}
	d.requestID = param{in: "header", name: "X-Request-Id", kind: "string", required: true, schema: c.schema(pointer("").to("components", "headers", "RequestID", "schema"))}
	return d, c.err
}

// find returns the operation that a request is for, and the values of its
// path's variables. Doubled slashes count as one. The path that has fewer
// variables wins.
func (d *document) find(method string, u *url.URL) (*operation, map[string]string) {
	if method == "HEAD" {
		method = "GET"
	}
	segments := split(u.EscapedPath())
	var best *operation
	for _, o := range d.operations {
		if o.method == method && o.matches(segments) && (best == nil || o.variables() < best.variables()) {
			best = o
		}
	}
	if best == nil {
		return nil, nil
	}
	values := map[string]string{}
	for i, s := range best.segments {
		if name, ok := variable(s); ok {
			values[name] = segments[i]
		}
	}
	return best, values
}

func (o *operation) matches(segments []string) bool {
	return slices.EqualFunc(o.segments, segments, func(want, got string) bool {
		_, any := variable(want)
		return any && got != "" || want == got
	})
}

func (o *operation) variables() int {
	n := 0
	for _, s := range o.segments {
		if _, ok := variable(s); ok {
			n++
		}
	}
	return n
}

func variable(segment string) (string, bool) {
	name, ok := strings.CutPrefix(segment, "{")
	return strings.TrimSuffix(name, "}"), ok
}

// split returns the decoded segments of an escaped path, without empty ones.
// A slash at the end makes another path, which ends in an empty segment.
func split(path string) []string {
	var segments []string
	parts := strings.Split(path, "/")
	for i, s := range parts {
		if s == "" && (i < len(parts)-1 || len(segments) == 0) {
			continue
		}
		if u, err := url.PathUnescape(s); err == nil {
			s = u
		}
		segments = append(segments, s)
	}
	return segments
}

// decode reads data as one JSON value, with numbers as they are written.
func decode(data []byte) (any, error) { return jsonschema.UnmarshalJSON(bytes.NewReader(data)) }
