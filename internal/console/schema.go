package console

import (
	"bytes"
	"encoding/json"
	"slices"
)

// schema is what of a JSON Schema makes a form. What else it says is checked by
// the service, which knows all of it.
type schema struct {
	Types       []string // none: any
	Title       string
	Description string
	Enum        []json.RawMessage
	Default     json.RawMessage
	Examples    []json.RawMessage
	Properties  []property // in the order in which they are declared
	Required    []string
	Closed      bool // no other properties are allowed
	Items       *schema
	Odd         bool // has what a form cannot show: it is typed as JSON

	Minimum, Maximum json.Number
}

type property struct {
	Name   string
	Schema *schema
}

// is reports whether the schema takes values of one type only.
func (s *schema) is(t string) bool { return len(s.Types) == 1 && s.Types[0] == t }

// only reports whether the schema takes values of some of these types, and no
// others.
func (s *schema) only(types ...string) bool {
	return len(s.Types) > 0 && !slices.ContainsFunc(s.Types, func(t string) bool { return !slices.Contains(types, t) })
}

// takes reports whether values of a type are among those that the schema takes.
func (s *schema) takes(t string) bool { return slices.Contains(s.Types, t) }

// readSchema reads a schema that the catalog has checked. What it cannot make
// sense of is odd.
func readSchema(raw json.RawMessage) *schema {
	s := &schema{}
	if len(raw) == 0 {
		return s
	}
	var in struct {
		Type                 json.RawMessage
		Title, Description   string
		Enum, Examples       []json.RawMessage
		Const, Default       json.RawMessage
		Properties           json.RawMessage
		Required             []string
		AdditionalProperties json.RawMessage
		Items                json.RawMessage
		Minimum, Maximum     json.Number

		Ref                 json.RawMessage `json:"$ref"`
		AllOf, AnyOf, OneOf json.RawMessage
		PatternProperties   json.RawMessage
		PrefixItems         json.RawMessage
	}
	if json.Unmarshal(raw, &in) != nil {
		s.Odd = true
		return s
	}
	var one string
	if json.Unmarshal(in.Type, &one) == nil && one != "" {
		s.Types = []string{one}
	} else {
		_ = json.Unmarshal(in.Type, &s.Types) // none is any
	}
	s.Title, s.Description, s.Enum, s.Default, s.Examples = in.Title, in.Description, in.Enum, in.Default, in.Examples
	if in.Const != nil {
		s.Enum = []json.RawMessage{in.Const}
	}
	s.Required, s.Minimum, s.Maximum = in.Required, in.Minimum, in.Maximum
	s.Closed = string(in.AdditionalProperties) == "false"
	s.Odd = in.Ref != nil || in.AllOf != nil || in.AnyOf != nil || in.OneOf != nil || in.PatternProperties != nil || in.PrefixItems != nil
	if in.Items != nil {
		s.Items = readSchema(in.Items)
	}
	for name, raw := range members(in.Properties) {
		s.Properties = append(s.Properties, property{name, readSchema(raw)})
	}
	return s
}

// members yields the members of a JSON object in their order.
func members(object json.RawMessage) func(func(string, json.RawMessage) bool) {
	return func(yield func(string, json.RawMessage) bool) {
		d := json.NewDecoder(bytes.NewReader(object))
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return
		}
		for d.More() {
			t, err := d.Token()
			name, ok := t.(string)
			var v json.RawMessage
			if err != nil || !ok || d.Decode(&v) != nil || !yield(name, v) {
				return
			}
		}
	}
}
