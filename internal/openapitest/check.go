package openapitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// problem is what the document does not allow of a request.
type problem struct {
	text    string
	refusal []int // the answers that are right about it
}

// What is right to answer to anything at all, before it is looked into.
var tooLarge = []int{413, 414, 431, 494}

// The right answers to a request without credentials, and to one with a
// parameter or body that is wrong: whether the caller may ask, and whether what
// is asked about exists, may be found out first.
var (
	nobody    = append([]int{401}, tooLarge...)
	malformed = append([]int{400, 401, 403, 404}, tooLarge...)
)

// checkRequest returns what the document does not allow of a request.
func (o *operation) checkRequest(r *http.Request, path map[string]string, in *bodyReader) []problem {
	var problems []problem
	report := func(refusal []int, format string, args ...any) {
		problems = append(problems, problem{fmt.Sprintf(format, args...), refusal})
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		report(malformed, "the query cannot be read: %v", err)
	}
	for _, p := range o.params {
		var values []string
		switch p.in {
		case "path":
			values = []string{path[p.name]}
		case "query":
			values = query[p.name]
		case "header":
			values = r.Header.Values(p.name)
		}
		if err := p.check(values); err != nil {
			report(malformed, "%v", err)
		}
	}
	if !o.open(r.Header) {
		report(nobody, "it has no credentials, which are one of %v", o.security)
	}
	if err := o.checkRequestBody(r, in); err != nil {
		report(malformed, "request body: %v", err)
	}
	return problems
}

// check checks the values of a parameter or header. One that is empty counts as
// absent.
func (p param) check(values []string) error {
	switch {
	case len(values) > 1:
		return fmt.Errorf("%s %s is given %d times", p.in, p.name, len(values))
	case len(values) == 0 || values[0] == "":
		if p.required {
			return fmt.Errorf("%s %s is missing", p.in, p.name)
		}
		return nil
	}
	if err := p.schema.Validate(typed(p.kind, values[0])); err != nil {
		return fmt.Errorf("%s %s: %s", p.in, p.name, indent(err))
	}
	return nil
}

var number = regexp.MustCompile(`^-?[0-9]+$`)

// typed returns a parameter's text as the JSON value that its schema is about.
func typed(kind, text string) any {
	switch {
	case kind == "integer" && number.MatchString(text):
		return json.Number(text)
	case kind == "boolean" && (text == "true" || text == "false"):
		return text == "true"
	}
	return text
}

// open reports whether the headers hold one set of credentials.
func (o *operation) open(h http.Header) bool {
	return o.security == nil || slices.ContainsFunc(o.security, func(set []string) bool {
		return !slices.ContainsFunc(set, func(name string) bool { return h.Get(name) == "" })
	})
}

func (o *operation) checkRequestBody(r *http.Request, in *bodyReader) error {
	switch {
	case o.request == nil || in != nil && !in.done:
		return nil
	case in == nil || in.kept.Len() == 0:
		if o.required {
			return errors.New("it is missing")
		}
		return nil
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" && len(o.request) == 1 { // the provider's clients leave it out at times
		for name := range o.request {
			contentType = name
		}
	}
	return checkBody(o.request, contentType, &in.kept)
}

// checkAnswer returns what the document does not have of an answer.
func (o *operation) checkAnswer(method string, out *answer) []string {
	documented := o.answers[out.status]
	if documented == nil {
		return []string{fmt.Sprintf("the document has no answer %d: %.300s", out.status, out.kept.Bytes())}
	}
	var problems []string
	for _, h := range documented.headers {
		if err := h.check(out.header.Values(h.name)); err != nil {
			problems = append(problems, fmt.Sprintf("the answer's %v", err))
		}
	}
	switch {
	case method == http.MethodHead:
	case documented.content == nil:
		if out.kept.Len() > 0 {
			problems = append(problems, fmt.Sprintf("the document has no body for this answer: %.300s", out.kept.Bytes()))
		}
	default:
		if err := checkBody(documented.content, out.header.Get("Content-Type"), &out.kept); err != nil {
			problems = append(problems, fmt.Sprintf("the answer's body: %v", err))
		}
	}
	return problems
}

// checkBody checks a body against the schema for its media type.
func checkBody(content map[string]*body, contentType string, data *kept) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("content type %q: %w", contentType, err)
	}
	b := content[media]
	switch {
	case b == nil:
		return fmt.Errorf("content type %q is not documented", contentType)
	case b.schema == nil || data.cut:
		return nil
	case b.sequence:
		return checkSequence(b, data)
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		v, err := decode(data.Bytes())
		if err != nil {
			return fmt.Errorf("it is not JSON: %w: %.300s", err, data.Bytes())
		}
		return b.validate(v)
	}
	return b.validate(data.String())
}

func checkSequence(b *body, data *kept) error {
	dec := json.NewDecoder(strings.NewReader(data.String()))
	for n := 1; ; n++ {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("value %d is not JSON: %w", n, err)
		}
		v, err := decode(raw)
		if err != nil {
			return fmt.Errorf("value %d is not JSON: %w", n, err)
		}
		if err := b.validate(v); err != nil {
			return fmt.Errorf("value %d: %w", n, err)
		}
	}
}

func (b *body) validate(v any) error {
	if err := b.schema.Validate(v); err != nil {
		text, _ := json.Marshal(v)
		return fmt.Errorf("%s\n    in %.600s", indent(err), text)
	}
	return nil
}
