package openapitest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/api"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/dcs"
	"github.com/errandhq/errand/internal/wire/dms"
	"github.com/errandhq/errand/internal/wire/iam"
	"github.com/errandhq/errand/internal/wire/native"
)

func document31(t *testing.T) *document {
	t.Helper()
	d, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// each calls f for every operation of the document.
func (d *document) each(f func(name string, item *openapi3.PathItem, o *openapi3.Operation)) {
	for path, item := range d.spec.Paths.Map() {
		for method, o := range item.Operations() {
			f(method+" "+path, item, o)
		}
	}
}

// TestDocument checks what a newcomer needs of every operation, and that nobody
// is left with an answer that is not described.
func TestDocument(t *testing.T) {
	t.Parallel()
	d := document31(t)
	if d.spec.Info.Version != "0.1.0" || d.spec.Info.License.Identifier != "Apache-2.0" || len(d.spec.Servers) == 0 {
		t.Errorf("info %+v, servers %v", d.spec.Info, d.spec.Servers)
	}
	tags := map[string]bool{}
	for _, tag := range d.spec.Tags {
		tags[tag.Name] = tag.Description != ""
	}
	ids := map[string]bool{}
	d.each(func(name string, item *openapi3.PathItem, o *openapi3.Operation) {
		if o.OperationID == "" || ids[o.OperationID] {
			t.Errorf("%s: operationId %q is missing or taken", name, o.OperationID)
		}
		ids[o.OperationID] = true
		if o.Summary == "" || strings.HasSuffix(o.Summary, ".") || len(o.Tags) != 1 || !tags[o.Tags[0]] {
			t.Errorf("%s: summary %q, tags %v", name, o.Summary, o.Tags)
		}
		for _, p := range slices.Concat(item.Parameters, o.Parameters) {
			if v := p.Value; v.Description == "" || v.Example == nil || v.Schema == nil || v.Required != (v.In == "path" || v.Name == "X-Subject-Token") {
				t.Errorf("%s: parameter %s needs a description, an example and a schema; required: %v", name, v.Name, v.Required)
			}
		}
		checkAnswers(t, d, name, o)
	})
}

func checkAnswers(t *testing.T, d *document, name string, o *openapi3.Operation) {
	t.Helper()
	success := 0
	want := []int{413, 414}
	if open := o.Security != nil && len(*o.Security) == 0; !open {
		want = append(want, 400, 401, 403, 500, 503)
	}
	for code, r := range o.Responses.Map() {
		status, err := strconv.Atoi(code)
		if err != nil {
			t.Errorf("%s: answer %q", name, code)
		}
		want = slices.DeleteFunc(want, func(w int) bool { return w == status })
		if status/100 == 2 {
			success++
		}
		if r.Value.Description == nil || *r.Value.Description == "" || r.Value.Headers["X-Request-Id"] == nil {
			t.Errorf("%s: answer %s needs a description and the header X-Request-Id", name, code)
		}
		if status < 400 || strings.HasSuffix(name, "/readyz") && status == 503 {
			continue
		}
		media := r.Value.Content["application/json"]
		if media == nil || media.Schema.Ref == "" || !strings.HasSuffix(media.Schema.Ref, "Error") || len(r.Value.Content) != 1 {
			t.Errorf("%s: answer %s is none of the documented errors", name, code)
		}
	}
	if success == 0 || len(want) > 0 {
		t.Errorf("%s: %d successes documented; answers that are missing: %v", name, success, want)
	}
}

// TestExamples holds every example against its schema, closed as it is for
// answers: one with a misspelt member is no example.
func TestExamples(t *testing.T) {
	t.Parallel()
	d := document31(t)
	n := 0
	check := func(at string, b *body, examples map[string]any) {
		for name, v := range examples {
			n++
			if err := b.validate(v); err != nil {
				t.Errorf("%s: example %s: %v", at, name, err)
			}
		}
	}
	d.each(func(name string, item *openapi3.PathItem, o *openapi3.Operation) {
		i := slices.IndexFunc(d.operations, func(op *operation) bool { return op.id == o.OperationID })
		op := d.operations[i]
		for code, r := range o.Responses.Map() {
			status, _ := strconv.Atoi(code)
			for media, m := range r.Value.Content {
				check(name+" "+code, op.answers[status].content[media], examplesOf(m))
				if media == "application/json" && len(examplesOf(m)) == 0 {
					t.Errorf("%s: answer %s has no example", name, code)
				}
			}
		}
		if o.RequestBody != nil {
			for media, m := range o.RequestBody.Value.Content {
				check(name, op.request[media], examplesOf(m))
				if len(examplesOf(m)) == 0 {
					t.Errorf("%s: the request has no example", name)
				}
			}
		}
		for i, p := range slices.Concat(item.Parameters, o.Parameters) {
			if err := op.params[i].check([]string{fmt.Sprint(p.Value.Example)}); err != nil {
				t.Errorf("%s: example: %v", name, err)
			}
		}
	})
	if n < 100 {
		t.Errorf("only %d examples were checked", n)
	}
}

func examplesOf(m *openapi3.MediaType) map[string]any {
	all := map[string]any{}
	if m.Example != nil {
		all[""] = m.Example
	}
	for name, e := range m.Examples {
		all[name] = e.Value.Value
	}
	return all
}

// TestComponents finds components that nothing refers to.
func TestComponents(t *testing.T) {
	t.Parallel()
	spec := document31(t).spec
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`"#/components/(\w+/\w+)"`).FindAllStringSubmatch(string(api.OpenAPI), -1) {
		used[m[1]] = true
	}
	var all []string
	for name := range spec.Components.Schemas {
		all = append(all, "schemas/"+name)
	}
	for name := range spec.Components.Responses {
		all = append(all, "responses/"+name)
	}
	for name := range spec.Components.Parameters {
		all = append(all, "parameters/"+name)
	}
	for name := range spec.Components.Headers {
		all = append(all, "headers/"+name)
	}
	for _, name := range all {
		if !used[name] && name != "schemas/AnyError" { // what the tests hold unknown addresses against
			t.Errorf("nothing refers to %s", name)
		}
	}
}

// The table of the DCS reference lists 26 members of a task's details.
func TestDetails(t *testing.T) {
	t.Parallel()
	details := document31(t).spec.Components.Schemas["DcsDetails"].Value
	if len(details.Properties) != 26 || details.AdditionalProperties.Has == nil || !*details.AdditionalProperties.Has {
		t.Errorf("%d members, others allowed: %v", len(details.Properties), details.AdditionalProperties.Has)
	}
	for name, p := range details.Properties {
		if p.Value.Type == nil || len(*p.Value.Type) != 1 {
			t.Errorf("details.%s has no type", name)
		}
	}
}

// TestRoutes checks that every route is documented and every documented path is
// a route. The routes of the server itself are in the stack test.
func TestRoutes(t *testing.T) {
	t.Parallel()
	svc := &tasks.Service{}
	dialects := []*wire.Dialect{iam.New(nil, nil), native.New(native.Deps{
		Tasks: svc, Store: (*sqlite.Store)(nil), Runs: &tasks.Runs{}, History: &tasks.Retention{}, Operations: func() []errand.Operation { return nil },
	})}
	for _, f := range []*wire.Family{dms.NewFamily(svc, nil, dms.Options{}, nil), dcs.NewFamily(svc, dcs.Options{}, nil)} {
		dialects = append(dialects, f.Base)
		dialects = slices.AppendSeq(dialects, maps.Values(f.ByEngine))
	}
	routes := map[string]bool{}
	for _, d := range dialects {
		if len(d.Routes()) == 0 {
			t.Errorf("dialect %s has no routes", d.Name)
		}
		for _, r := range d.Routes() {
			routes[r] = true
		}
	}
	documented := map[string]bool{}
	document31(t).each(func(name string, _ *openapi3.PathItem, o *openapi3.Operation) {
		documented[name] = true
		if o.Tags[0] != "server" && !routes[name] {
			t.Errorf("%s is documented and no dialect has it", name)
		}
	})
	for r := range routes {
		if !documented[r] {
			t.Errorf("%s is not documented", r)
		}
	}
}
