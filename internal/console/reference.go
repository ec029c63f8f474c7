package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/errandhq/errand"
)

// reference is the description of the HTTP API, as its page shows it.
type reference struct {
	groups []callGroup
}

type callGroup struct {
	Name, Text string
	Calls      []apiCall
}

type apiCall struct {
	Method, Path, Summary, Text string
	Params                      []apiParam
	Answers                     []apiAnswer
}

type apiParam struct {
	Name, In, Text string
	Needed         bool
}

type apiAnswer struct{ Status, Text string }

// The parts of an OpenAPI document that are read.
type (
	openAPI struct {
		Tags []struct {
			Name, Description string
		}
		Paths      map[string]map[string]yaml.Node
		Components struct {
			Parameters map[string]openParam
			Responses  map[string]struct{ Description string }
		}
	}
	openParam struct {
		Ref                   string `yaml:"$ref"`
		Name, In, Description string
		Required              bool
	}
	openCall struct {
		Tags                 []string
		Summary, Description string
		Parameters           []openParam
		Responses            map[string]struct {
			Ref         string `yaml:"$ref"`
			Description string
		}
	}
)

var methods = []string{"get", "post", "put", "patch", "delete"}

// newReference reads the document, which is a part of the program.
func newReference(document []byte) *reference {
	var doc openAPI
	if err := yaml.Unmarshal(document, &doc); err != nil {
		panic(err)
	}
	r := &reference{}
	for _, t := range doc.Tags {
		g := callGroup{Name: t.Name, Text: t.Description}
		for path, item := range doc.Paths {
			for _, m := range methods {
				if node, ok := item[m]; ok {
					if c := doc.call(path, m, item["parameters"], node); slices.Contains(c.tags, t.Name) {
						g.Calls = append(g.Calls, c.apiCall)
					}
				}
			}
		}
		slices.SortFunc(g.Calls, func(a, b apiCall) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(slices.Index(methods, strings.ToLower(a.Method)), slices.Index(methods, strings.ToLower(b.Method))))
		})
		if len(g.Calls) > 0 {
			r.groups = append(r.groups, g)
		}
	}
	return r
}

type taggedCall struct {
	apiCall
	tags []string
}

// call reads one call of a path. shared are the parameters of all of its calls.
func (d *openAPI) call(path, method string, shared, node yaml.Node) taggedCall {
	var in openCall
	if err := node.Decode(&in); err != nil {
		panic(err)
	}
	var common []openParam
	if shared.Kind != 0 {
		if err := shared.Decode(&common); err != nil {
			panic(err)
		}
	}
	c := taggedCall{apiCall{Method: strings.ToUpper(method), Path: path, Summary: in.Summary, Text: in.Description}, in.Tags}
	for _, p := range append(common, in.Parameters...) {
		if p.Ref != "" {
			p = d.Components.Parameters[last(p.Ref)]
		}
		c.Params = append(c.Params, apiParam{p.Name, p.In, p.Description, p.Required})
	}
	for status, a := range in.Responses {
		if a.Ref != "" {
			a.Description = d.Components.Responses[last(a.Ref)].Description
		}
		c.Answers = append(c.Answers, apiAnswer{status, a.Description})
	}
	slices.SortFunc(c.Answers, func(a, b apiAnswer) int { return cmp.Compare(a.Status, b.Status) })
	return c
}

func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

type referenceView struct {
	frame
	Groups   []callGroup
	Address  string
	ID       string // of the project
	Instance string
	Engine   string
}

func (c *Console) referencePage(v *visit) (reply, error) {
	view := referenceView{frame: c.frame(v, "API", "reference"), Groups: c.reference.groups, Address: address(v.Request), ID: v.project(), Instance: "INSTANCE_ID"}
	list, _, err := c.Tasks.Instances(v.Context(), v.who, v.project(), 0, 10)
	if err != nil {
		return reply{}, err
	}
	for _, i := range list { // the snippets ask for Kafka
		if view.Instance == "INSTANCE_ID" || i.Engine == errand.Kafka {
			view.Instance = i.ID
		}
		if i.Engine == errand.Kafka {
			break
		}
	}
	return reply{page: "reference", view: view}, nil
}

// address is how the browser reached the server. A path that a proxy stripped is
// not known here.
func address(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
