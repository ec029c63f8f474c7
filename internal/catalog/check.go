package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// The limits of parameters and of what is said about them.
const (
	maxDepth    = 64  // lists and objects within each other
	maxFindings = 3   // places that one error names
	maxPointer  = 120 // bytes of a place
	maxMessage  = 400 // bytes about one place
	maxListed   = 8   // names or values of a schema
)

// decodeParams reads one JSON object as the validator wants it. A member that is
// there twice is refused, since the validator and the operation could take
// different ones of the two.
func decodeParams(params json.RawMessage) (any, error) {
	if !json.Valid(params) {
		return nil, errors.New("params must be one JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.UseNumber()
	v, err := decodeValue(d, nil)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(map[string]any); !ok {
		return nil, errors.New("params must be one JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("params must be one JSON object")
	}
	return v, nil
}

func decodeValue(d *json.Decoder, at []string) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errors.New("params must be one JSON object")
	}
	if len(at) >= maxDepth {
		return nil, fmt.Errorf("params must be nested at most %d deep", maxDepth)
	}
	switch t := t.(type) {
	case json.Number:
		if !modest(t.String()) {
			return nil, fmt.Errorf("params: at %s: a number must have at most 100 digits and an exponent of at most 400", pointer(at))
		}
	case json.Delim:
		if t == '{' {
			return decodeObject(d, at)
		}
		list := []any{}
		for d.More() {
			v, err := decodeValue(d, append(at, fmt.Sprint(len(list))))
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}

func decodeObject(d *json.Decoder, at []string) (any, error) {
	members := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, errors.New("params must be one JSON object")
		}
		name, _ := t.(string)
		if _, again := members[name]; again {
			return nil, fmt.Errorf("params: at %s: the member is there twice", pointer(append(at, name)))
		}
		if members[name], err = decodeValue(d, append(at, name)); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return members, err
}

// finding is one thing that a schema does not allow.
type finding struct {
	at   []string // JSON pointer tokens
	text string
}

// explain says in words what the validator found.
func explain(err error) string {
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return "they could not be checked"
	}
	all := findings(invalid)
	var texts []string
	for _, f := range all[:min(len(all), maxFindings)] {
		texts = append(texts, fmt.Sprintf("at %s: %s", pointer(f.at), f.text))
	}
	if len(all) > maxFindings {
		texts = append(texts, fmt.Sprintf("and %d more", len(all)-maxFindings))
	}
	return strings.Join(texts, "; ")
}

// findings flattens an error of the validator, in the order of places.
func findings(e *jsonschema.ValidationError) []finding {
	var all []finding
	collect(e, &all)
	slices.SortFunc(all, func(a, b finding) int {
		return cmp.Or(slices.Compare(a.at, b.at), cmp.Compare(a.text, b.text))
	})
	return slices.CompactFunc(all, func(a, b finding) bool { return slices.Equal(a.at, b.at) && a.text == b.text })
}

func collect(e *jsonschema.ValidationError, all *[]finding) {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		*all = append(*all, finding{e.InstanceLocation, alternatives(e)})
		return
	case *kind.OneOf:
		text := "must fit one of the alternatives, and fits several"
		if len(k.Subschemas) == 0 {
			text = alternatives(e)
		}
		*all = append(*all, finding{e.InstanceLocation, text})
		return
	case *kind.PropertyNames:
		*all = append(*all, finding{e.InstanceLocation, fmt.Sprintf("a member must not have the name %.64q", k.Property)})
		return
	}
	if len(e.Causes) == 0 || isContains(e.ErrorKind) {
		*all = append(*all, finding{e.InstanceLocation, cut(requirement(e.ErrorKind), maxMessage)})
		return
	}
	for _, cause := range e.Causes {
		collect(cause, all)
	}
}

// isContains reports whether a list lacks an item. Why each of its items is not
// the one that lacks is no help.
func isContains(k jsonschema.ErrorKind) bool {
	switch k.(type) {
	case *kind.Contains, *kind.MinContains:
		return true
	}
	return false
}

// alternatives says of each alternative what it would take.
func alternatives(e *jsonschema.ValidationError) string {
	var texts []string
	for _, cause := range e.Causes {
		for _, f := range findings(cause) {
			text := f.text
			if below := f.at[min(len(e.InstanceLocation), len(f.at)):]; len(below) > 0 {
				text = pointer(below) + " " + text
			}
			if !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	return cut(strings.Join(texts, ", or "), maxMessage)
}

// requirement says what one keyword of a schema asks for. It takes what it says
// from the schema, and from the value only its type: see [Catalog.Check].
func requirement(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("must be %s, not %s", oneOfTypes(k.Want), article(k.Got))
	case *kind.Enum:
		return "must be " + oneOfValues(k.Want)
	case *kind.Const:
		return "must be " + oneOfValues([]any{k.Want})
	case *kind.Format:
		return fmt.Sprintf("must have the format %s", k.Want)
	case *kind.Pattern:
		return fmt.Sprintf("must match the pattern %s", k.Want)
	case *kind.Required:
		return "must have the member " + names(k.Missing, " and ")
	case *kind.DependentRequired:
		return fmt.Sprintf("must have the member %s, because it has %q", names(k.Missing, " and "), k.Prop)
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		return "must not have the member " + names(k.Properties, " or ")
	case *kind.FalseSchema:
		return "must not be there"
	case *kind.UniqueItems:
		return fmt.Sprintf("must not have the same item twice, as at %d and %d", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		return "must have an item of the kind that the schema asks for"
	case *kind.MinContains:
		return fmt.Sprintf("must have at least %d items of the kind that the schema asks for", k.Want)
	case *kind.MaxContains:
		return fmt.Sprintf("must have at most %d items of the kind that the schema asks for", k.Want)
	case *kind.Not:
		return "must not fit what the schema excludes"
	}
	return bound(k)
}

// bound says what keywords ask for that compare numbers.
func bound(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d members", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d members", k.Want)
	}
	return "does not fit the schema"
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return cut(r.Num().String(), maxPointer)
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}

func oneOfTypes(types []string) string {
	var texts []string
	for _, t := range types {
		texts = append(texts, article(t))
	}
	return strings.Join(texts, " or ")
}

func article(t string) string {
	switch t {
	case "null":
		return t
	case "array", "integer", "object":
		return "an " + t
	}
	return "a " + t
}

func oneOfValues(values []any) string {
	var texts []string
	for i, v := range values {
		if i == maxListed {
			texts = append(texts, fmt.Sprintf("one of %d more", len(values)-i))
			break
		}
		j, err := json.Marshal(v)
		if err != nil {
			j = []byte("what the schema says")
		}
		texts = append(texts, cut(string(j), 64))
	}
	return strings.Join(texts, " or ")
}

func names(all []string, and string) string {
	var texts []string
	for i, name := range all {
		if i == maxListed {
			texts = append(texts, fmt.Sprintf("%d more", len(all)-i))
			break
		}
		texts = append(texts, fmt.Sprintf("%.64q", name))
	}
	return strings.Join(texts, and)
}

// pointer writes a place as a JSON pointer (RFC 6901). That of the whole is empty
// and would be overlooked.
func pointer(at []string) string {
	var b strings.Builder
	for _, token := range at {
		b.WriteByte('/')
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
		quoted := fmt.Sprintf("%.64q", token) // escapes what a terminal would obey
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	if b.Len() == 0 {
		return "the top"
	}
	return cut(b.String(), maxPointer)
}

// cut shortens a text to limit bytes, and shows that it did.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
