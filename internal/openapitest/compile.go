package openapitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// base is the address under which the schemas refer to each other.
const base = "https://errand.example/openapi.json"

// compiler makes operations of a document ready. It keeps the first error.
type compiler struct {
	spec    *openapi3.T
	schemas *jsonschema.Compiler
	err     error
}

func newCompiler(spec *openapi3.T) (*compiler, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	doc, err := decode(data)
	if err != nil {
		return nil, err
	}
	closeObjects(doc)
	c := &compiler{spec: spec, schemas: jsonschema.NewCompiler()}
	c.schemas.DefaultDraft(jsonschema.Draft2020)
	c.schemas.AssertFormat()
	return c, c.schemas.AddResource(base, doc)
}

// closeObjects makes every object schema that lists its members, and does not
// say whether there may be others, refuse others. The document leaves them open,
// because answers may gain members; a test must notice when they do.
func closeObjects(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			closeObjects(e)
		}
	case map[string]any:
		_, lists := v["properties"].(map[string]any)
		_, says := v["additionalProperties"]
		if lists && !says {
			v["additionalProperties"] = false
		}
		for name, e := range v {
			if name != "example" && name != "examples" {
				closeObjects(e)
			}
		}
	}
}

// pointer names a place in the document (RFC 6901).
type pointer string

func (p pointer) to(names ...string) pointer {
	for _, n := range names {
		p += pointer("/" + strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D").Replace(n))
	}
	return p
}

// schema compiles the schema at p, unless it is a reference to a component.
func (c *compiler) schema(p pointer) *jsonschema.Schema {
	s, err := c.schemas.Compile(base + "#" + string(p))
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("schema at %s: %w", p, err)
	}
	return s
}

func (c *compiler) component(name string) *jsonschema.Schema {
	return c.schema(pointer("").to("components", "schemas", name))
}

func (c *compiler) operation(method, path string, item *openapi3.PathItem, o *openapi3.Operation) *operation {
	at := pointer("").to("paths", path)
	op := &operation{id: o.OperationID, method: method, segments: split(path), answers: map[int]*response{}}
	for i, p := range item.Parameters {
		op.params = append(op.params, c.param(at.to("parameters", strconv.Itoa(i)), p))
	}
	at = at.to(strings.ToLower(method))
	for i, p := range o.Parameters {
		op.params = append(op.params, c.param(at.to("parameters", strconv.Itoa(i)), p))
	}
	op.security = c.security(o)
	if b := o.RequestBody; b != nil {
		op.required = b.Value.Required
		op.request = c.content(follow(at.to("requestBody"), b.Ref), b.Value.Content)
	}
	for code, r := range o.Responses.Map() {
		status, err := strconv.Atoi(code)
		if err != nil && c.err == nil {
			c.err = fmt.Errorf("%s: answer %q is not one status", op.id, code)
		}
		op.answers[status] = c.response(follow(at.to("responses", code), r.Ref), r.Value)
	}
	return op
}

// follow returns the place that ref names, or else p.
func follow(p pointer, ref string) pointer {
	if target, ok := strings.CutPrefix(ref, "#"); ok {
		return pointer(target)
	}
	return p
}

func (c *compiler) param(p pointer, ref *openapi3.ParameterRef) param {
	v := ref.Value
	return param{v.In, v.Name, kind(v.Schema), v.Required, c.schema(follow(p, ref.Ref).to("schema"))}
}

func (c *compiler) response(p pointer, r *openapi3.Response) *response {
	out := &response{content: c.content(p, r.Content)}
	for name, h := range r.Headers {
		at := follow(p.to("headers", name), h.Ref)
		out.headers = append(out.headers, param{"header", name, kind(h.Value.Schema), h.Value.Required, c.schema(at.to("schema"))})
	}
	return out
}

func (c *compiler) content(p pointer, content openapi3.Content) map[string]*body {
	if len(content) == 0 {
		return nil
	}
	out := map[string]*body{}
	for name, media := range content {
		b := &body{}
		b.sequence, _ = media.Extensions["x-json-sequence"].(bool)
		if media.Schema != nil {
			b.schema = c.schema(p.to("content", name, "schema"))
		}
		out[name] = b
	}
	return out
}

// security returns the sets of headers that open an operation.
func (c *compiler) security(o *openapi3.Operation) [][]string {
	wanted := o.Security
	if wanted == nil {
		wanted = &c.spec.Security
	}
	var sets [][]string
	for _, schemes := range *wanted {
		var headers []string
		for name := range schemes {
			scheme := c.spec.Components.SecuritySchemes[name].Value
			header := scheme.Name
			if scheme.Type == "http" {
				header = "Authorization"
			}
			headers = append(headers, http.CanonicalHeaderKey(header))
		}
		sets = append(sets, headers)
	}
	return sets
}

func kind(s *openapi3.SchemaRef) string {
	if s == nil || s.Value == nil || s.Value.Type == nil || len(*s.Value.Type) == 0 {
		return "string"
	}
	return (*s.Value.Type)[0]
}
