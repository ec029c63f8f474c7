package console

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// field is one input of the form of an operation's parameters.
type field struct {
	Name     string // JSON pointer of the parameter, and name of the input
	Label    string
	Help     string
	Kind     string // text, block, number, choice, lines, json or group
	Required bool
	Value    string
	Options  []option // of a choice
	Min, Max string
	Whole    bool // an integer
	Example  string
	Problem  string
	Fields   []field // of a group

	schema *schema
}

type option struct {
	Value, Text string
	Chosen      bool
}

// otherParams is the input for what a schema lets through and does not name. No
// JSON pointer looks like it.
const otherParams = "other"

// maxNested is how deep groups go; what is deeper is typed as JSON.
const maxNested = 3

// fields makes the inputs for a schema, with the values of a form that was sent
// before.
func (l look) fields(s *schema, at string, depth int, values url.Values) []field {
	var out []field
	for _, p := range s.Properties {
		out = append(out, l.field(p, at, depth, slices.Contains(s.Required, p.Name), values))
	}
	if depth == 0 && !s.Closed {
		f := field{Name: otherParams, Kind: "json", Label: l.t("Other parameters"), Value: values.Get(otherParams), schema: &schema{Types: []string{"object"}}}
		f.Help = l.t("A JSON object with what the operation takes beyond the above.")
		if len(s.Properties) == 0 {
			f.Label, f.Help = l.t("Parameters"), l.t("A JSON object; empty for none.")
		}
		out = append(out, f)
	}
	return out
}

func (l look) field(p property, at string, depth int, required bool, values url.Values) field {
	s := p.Schema
	f := field{
		Name: at + "/" + pointerToken(p.Name), Label: clean(p.Name, cutCell), Help: clean(s.Description, cutLine), Required: required,
		schema: s,
	}
	if s.Title != "" {
		f.Label = clean(s.Title, cutCell) + " (" + f.Label + ")"
	}
	switch {
	case s.Odd:
		f.Kind = "json"
	case len(s.Enum) > 0:
		f.Kind = "choice"
		for _, e := range s.Enum {
			f.Options = append(f.Options, option{Value: string(e), Text: clean(plainValue(e), cutCell)})
		}
	case s.only("boolean", "null") && s.takes("boolean"):
		f.Kind = "choice"
		f.Options = []option{{Value: "true", Text: l.t("yes")}, {Value: "false", Text: l.t("no")}}
		if s.takes("null") {
			f.Options = append(f.Options, option{Value: "null", Text: "null"})
		}
	case s.is("integer"), s.is("number"):
		f.Kind, f.Whole, f.Min, f.Max = "number", s.is("integer"), string(s.Minimum), string(s.Maximum)
	case s.is("object") && len(s.Properties) > 0 && depth < maxNested:
		f.Kind, f.Fields = "group", l.fields(s, f.Name, depth+1, values)
	case s.is("array") && s.Items != nil && !s.Items.Odd && len(s.Items.Enum) == 0 && (s.Items.is("string") || s.Items.is("integer") || s.Items.is("number")):
		f.Kind = "lines"
	case s.only("string", "integer", "number", "null"):
		f.Kind = "text"
	default:
		f.Kind = "json"
	}
	f.fill(values)
	f.Help = strings.TrimSpace(f.Help + " " + l.bounds(f))
	return f
}

// fill sets what is typed: what was before, or else the default.
func (f *field) fill(values url.Values) {
	if len(f.schema.Examples) > 0 {
		f.Example = clean(f.typed(f.schema.Examples[0]), cutCell)
	}
	if f.Value = f.typed(f.schema.Default); values.Has(f.Name) {
		f.Value = strings.ReplaceAll(values.Get(f.Name), "\r\n", "\n")
	}
	for i, o := range f.Options {
		f.Options[i].Chosen = f.Value != "" && f.Value == o.Value
	}
	if f.Kind == "text" && strings.Contains(f.Value, "\n") {
		f.Kind = "block"
	}
}

// typed is a value of the schema as one types it into the field.
func (f *field) typed(v json.RawMessage) string {
	switch f.Kind {
	case "choice":
		return string(v)
	case "lines":
		var list []json.RawMessage
		if json.Unmarshal(v, &list) != nil {
			return ""
		}
		lines := make([]string, len(list))
		for i, x := range list {
			lines[i] = plainValue(x)
		}
		return strings.Join(lines, "\n")
	case "json":
		return string(v)
	}
	return plainValue(v)
}

// bounds says in words what a field takes.
func (l look) bounds(f field) string {
	s := f.schema
	switch {
	case f.Kind == "number" && f.Min != "" && f.Max != "":
		return l.t("From %s to %s.", f.Min, f.Max)
	case f.Kind == "number" && f.Min != "":
		return l.t("At least %s.", f.Min)
	case f.Kind == "number" && f.Max != "":
		return l.t("At most %s.", f.Max)
	case f.Kind == "lines":
		return l.t("One value in each line.")
	case f.Kind == "json" && s.is("array") && s.Items != nil && len(s.Items.Properties) > 0:
		var names []string
		for _, p := range s.Items.Properties {
			names = append(names, clean(p.Name, cutCell))
		}
		return l.t("A JSON list of objects with the members %s.", strings.Join(names, ", "))
	case f.Kind == "json":
		return l.t("JSON.")
	}
	return ""
}

// plainValue is a JSON value as one types it.
func plainValue(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}

func pointerToken(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// read makes the JSON of a form's values, in the order of the fields, and notes
// in the fields what is wrong with them. empty says that there is nothing.
func (l look) read(fields []field) (object json.RawMessage, empty, ok bool) {
	var b bytes.Buffer
	b.WriteByte('{')
	ok, empty = true, true
	seen := map[string]bool{}
	add := func(name string, v json.RawMessage) {
		if !empty {
			b.WriteByte(',')
		}
		empty, seen[name] = false, true
		key, _ := json.Marshal(name)
		b.Write(key)
		b.WriteByte(':')
		b.Write(v)
	}
	for i := range fields {
		f := &fields[i]
		v, none := l.value(f)
		switch {
		case f.Problem != "":
			ok = false
		case f.Kind == "group" && !l.groupOK(f):
			ok = false
		case none:
		case f.Name == otherParams:
			for name, v := range members(v) {
				if seen[name] {
					f.Problem, ok = l.t("%s has a field of its own above.", clean(name, cutCell)), false
					continue
				}
				add(name, v)
			}
		default:
			add(tokenOfPointer(f.Name), v)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), empty, ok
}

// groupOK reports whether nothing in a group is wrong.
func (l look) groupOK(f *field) bool {
	return !slices.ContainsFunc(f.Fields, func(x field) bool { return x.Problem != "" || x.Kind == "group" && !l.groupOK(&x) })
}

func tokenOfPointer(p string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(p[strings.LastIndexByte(p, '/')+1:])
}

// value reads one field. none says that the parameter is to be left out.
func (l look) value(f *field) (v json.RawMessage, none bool) {
	if f.Kind == "group" {
		v, empty, _ := l.read(f.Fields)
		if empty && !f.Required {
			for i := range f.Fields { // what a group needs is not needed without the group
				f.Fields[i].Problem = ""
			}
		}
		return v, empty && !f.Required
	}
	text := f.Value
	if f.Kind != "text" && f.Kind != "block" {
		text = strings.TrimSpace(text)
	}
	if text == "" {
		if f.Required {
			f.Problem = l.t("This is needed.")
		}
		return nil, true
	}
	var problem string
	switch f.Kind {
	case "number":
		v, problem = l.numberValue(text, f.Whole)
	case "choice":
		v, problem = l.chosen(f, text)
	case "lines":
		v, problem = l.lines(f, text)
	case "json":
		if v = json.RawMessage(text); !json.Valid(v) {
			problem = l.t("This is not JSON.")
		} else if f.schema.is("object") && text[0] != '{' {
			problem = l.t("This must be a JSON object.")
		}
	default:
		v = l.textValue(f.schema, text)
	}
	f.Problem = problem
	return v, false
}

func (l look) numberValue(text string, integer bool) (json.RawMessage, string) {
	var n json.Number
	if text[0] == '"' || json.Unmarshal([]byte(text), &n) != nil || n == "" {
		return nil, l.t("This must be a number.")
	}
	if integer && strings.ContainsAny(text, ".eE") {
		return nil, l.t("This must be a whole number.")
	}
	return json.RawMessage(text), ""
}

func (l look) chosen(f *field, text string) (json.RawMessage, string) {
	for _, o := range f.Options {
		if o.Value == text {
			return json.RawMessage(text), ""
		}
	}
	return nil, l.t("Choose one of the values.")
}

func (l look) lines(f *field, text string) (json.RawMessage, string) {
	list := []json.RawMessage{}
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if f.schema.Items.is("string") {
			v, _ := json.Marshal(line)
			list = append(list, v)
			continue
		}
		v, problem := l.numberValue(line, f.schema.Items.is("integer"))
		if problem != "" {
			return nil, l.t("Line %s:", strconv.Itoa(i+1)) + " " + problem
		}
		list = append(list, v)
	}
	v, _ := json.Marshal(list) // valid JSON marshals
	return v, ""
}

// textValue is a number where the schema takes one and the text is one.
func (l look) textValue(s *schema, text string) json.RawMessage {
	if s.Default != nil && s.Default[0] == '"' && plainValue(s.Default) == text {
		return s.Default
	}
	if s.takes("integer") || s.takes("number") {
		if v, problem := l.numberValue(text, !s.takes("number")); problem == "" {
			return v
		}
	}
	v, _ := json.Marshal(text)
	return v
}

// assign puts what the service found wrong beside the fields that it is about, and
// returns the rest. Its message names places as JSON pointers.
func assign(fields []field, message string) string {
	_, list, ok := strings.Cut(message, "at ")
	if !ok {
		return message
	}
	var rest []string
	for _, finding := range strings.Split(list, "; at ") {
		place, text, ok := strings.Cut(finding, ": ")
		if f := byPointer(fields, strings.Trim(place, `"`)); ok && f != nil {
			f.Problem = clean(text, cutLine)
			continue
		}
		rest = append(rest, finding)
	}
	return strings.Join(rest, "; ")
}

// byPointer finds the field that a place is in.
func byPointer(fields []field, place string) *field {
	for i := range fields {
		f := &fields[i]
		if f.Name == otherParams {
			continue
		}
		if f.Kind == "group" && strings.HasPrefix(place, f.Name+"/") {
			if in := byPointer(f.Fields, place); in != nil {
				return in
			}
		}
		if f.Name == place || strings.HasPrefix(place, f.Name+"/") {
			return f
		}
	}
	return nil
}
