package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// The limits of a schema. They bound what it can cost to check one submission.
const (
	maxSchema  = 64 << 10 // bytes of JSON
	maxPattern = 1000     // bytes of a regular expression
	maxProgram = 5000     // instructions of a compiled one
	maxWeight  = 2000     // subschemas, counted once for every way that leads to them
)

// draft is the only dialect of schemas that we take.
const draft = "https://json-schema.org/draft/2020-12/schema"

// place says what a keyword of JSON Schema holds.
type place int

const (
	value       place = iota // nothing to look into
	subschema                // a schema
	subschemas               // a list of schemas
	named                    // schemas by name
	patternized              // schemas by pattern
)

// keywords are those of JSON Schema 2020-12 (json-schema.org) that we take. Left
// out is what names schemas beyond their place in the document ($id, $anchor,
// $dynamicRef, $vocabulary) and what only older drafts have.
var keywords = map[string]place{
	"$schema": value, "$ref": value, "$comment": value, "$defs": named,
	"allOf": subschemas, "anyOf": subschemas, "oneOf": subschemas, "not": subschema,
	"if": subschema, "then": subschema, "else": subschema, "dependentSchemas": named,
	"prefixItems": subschemas, "items": subschema, "contains": subschema, "unevaluatedItems": subschema,
	"properties": named, "patternProperties": patternized, "additionalProperties": subschema,
	"propertyNames": subschema, "unevaluatedProperties": subschema,
	"type": value, "enum": value, "const": value,
	"multipleOf": value, "maximum": value, "exclusiveMaximum": value, "minimum": value, "exclusiveMinimum": value,
	"maxLength": value, "minLength": value, "pattern": value, "format": value,
	"maxItems": value, "minItems": value, "uniqueItems": value, "maxContains": value, "minContains": value,
	"maxProperties": value, "minProperties": value, "required": value, "dependentRequired": value,
	"contentEncoding": value, "contentMediaType": value,
	"title": value, "description": value, "default": value, "examples": value,
	"deprecated": value, "readOnly": value, "writeOnly": value,
}

// schema reads the schema of an operation's parameters.
func (s *source) schema(n *yaml.Node) (json.RawMessage, *jsonschema.Schema) {
	before := len(s.problems)
	if n.Kind != yaml.MappingNode {
		s.fail(n, "expected params as a JSON Schema, found %s", found(n))
		return nil, nil
	}
	s.vetSchema(n)
	if t, ok := member(n, "type"); ok && (t.ShortTag() != textTag || t.Value != "object") {
		s.fail(t, "expected type: object, because params are an object, found %s", found(t))
	}
	var b bytes.Buffer
	s.appendJSON(&b, n)
	if b.Len() > maxSchema {
		s.fail(n, "expected a schema of at most %d bytes as JSON, found %d", maxSchema, b.Len())
	}
	if len(s.problems) > before {
		return nil, nil
	}
	compiled, err := compile(b.Bytes())
	if err != nil {
		s.failSchema(n, err)
		return nil, nil
	}
	if w := weigh(compiled, map[*jsonschema.Schema]int{}); w > maxWeight {
		s.fail(n, "expected a schema that does not refer to itself and has at most %d parts, counted wherever they are referred to", maxWeight)
		return nil, nil
	}
	return b.Bytes(), compiled
}

// vetSchema finds what the validator would pass over or do at too high a cost.
// A misspelt keyword, above all, means nothing in JSON Schema and is no error.
func (s *source) vetSchema(n *yaml.Node) {
	switch {
	case n.ShortTag() == boolTag:
		return
	case n.Kind != yaml.MappingNode:
		s.fail(n, "expected a schema as a mapping, or true or false, found %s", found(n))
		return
	}
	for k, v := range pairs(n) {
		p, ok := keywords[k.Value]
		switch {
		case !ok && !strings.HasPrefix(k.Value, "x-"):
			s.fail(k, "expected a keyword of JSON Schema 2020-12 that is supported here, found %s", found(k))
		case k.Value == "$schema" && v.Value != draft:
			s.fail(v, "expected %s, found %s", draft, found(v))
		case k.Value == "$ref" && !strings.HasPrefix(v.Value, "#"):
			s.fail(v, "expected a reference within this schema, such as #/$defs/name, found %s; nothing is fetched", found(v))
		case k.Value == "pattern" && v.ShortTag() == textTag:
			s.vetPattern(v)
		}
		s.vetParts(v, p)
	}
}

// vetParts looks into the schemas that a keyword holds.
func (s *source) vetParts(v *yaml.Node, p place) {
	switch p {
	case subschema:
		s.vetSchema(v)
	case subschemas:
		if v.Kind != yaml.SequenceNode {
			s.fail(v, "expected a list of schemas, found %s", found(v))
			return
		}
		for _, one := range v.Content {
			s.vetSchema(one)
		}
	case named, patternized:
		if v.Kind != yaml.MappingNode {
			s.fail(v, "expected schemas by name, found %s", found(v))
			return
		}
		for k, one := range pairs(v) {
			if p == patternized {
				s.vetPattern(k)
			}
			s.vetSchema(one)
		}
	}
}

func (s *source) vetPattern(n *yaml.Node) {
	if _, err := compilePattern(n.Value); err != nil {
		s.fail(n, "expected a regular expression in the syntax of Go: %s", err)
	}
}

// compilePattern bounds what a regular expression costs. Go's never backtrack,
// so that length of the text times the size of the program is all.
func compilePattern(pattern string) (jsonschema.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%d bytes are more than %d", len(pattern), maxPattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			return nil, fmt.Errorf("%s: %.40q", e.Code, e.Expr)
		}
		return nil, err
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > maxProgram {
		return nil, fmt.Errorf("its repetitions make it too large (%d instructions, more than %d)", len(prog.Inst), maxProgram)
	}
	return regexp.Compile(pattern)
}

// nowhere is where schemas refer to that are not here.
type nowhere struct{}

func (nowhere) Load(string) (any, error) { return nil, errors.New("nothing is fetched") }

// schemaURL names a schema to its compiler. It is never looked up.
const schemaURL = "errand:params"

func compile(schema []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	c.UseRegexpEngine(compilePattern)
	c.AssertFormat()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	return c.Compile(schemaURL)
}

// failSchema notes what the compiler says, at the part that it means.
func (s *source) failSchema(n *yaml.Node, err error) {
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if invalid, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			for i, f := range findings(invalid) {
				if i < maxProblems {
					s.fail(at(n, f.at), "expected JSON Schema 2020-12: %s", f.text)
				}
			}
			return
		}
	}
	if e, ok := errors.AsType[*jsonschema.JSONPointerNotFoundError](err); ok {
		_, pointer, _ := strings.Cut(e.URL, "#")
		if decoded, err := url.PathUnescape(pointer); err == nil {
			pointer = decoded
		}
		s.fail(reference(n, pointer), "expected a reference to a part of this schema, found none at #%.*s", maxShown, pointer)
		return
	}
	s.fail(n, "expected JSON Schema 2020-12: %.200s", err)
}

// at returns the node that a JSON pointer means, or the nearest one above.
func at(n *yaml.Node, pointer []string) *yaml.Node {
	for _, token := range pointer {
		var next *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			next, _ = member(n, token)
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
				next = n.Content[i]
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// reference returns the value of the first $ref below n that has the pointer, or
// n.
func reference(n *yaml.Node, pointer string) *yaml.Node {
	var find func(*yaml.Node) *yaml.Node
	find = func(n *yaml.Node) *yaml.Node {
		if n.Kind == yaml.MappingNode {
			if v, ok := member(n, "$ref"); ok && strings.TrimPrefix(v.Value, "#") == pointer {
				return v
			}
		}
		for _, child := range n.Content {
			if hit := find(child); hit != nil {
				return hit
			}
		}
		return nil
	}
	if hit := find(n); hit != nil {
		return hit
	}
	return n
}

// weigh counts the parts of a schema, those that are referred to once for each
// reference: what checking one value can cost. More than maxWeight is returned
// for a schema that refers to itself.
func weigh(s *jsonschema.Schema, known map[*jsonschema.Schema]int) int {
	if w, ok := known[s]; ok {
		return w
	}
	known[s] = maxWeight + 1 // until it is known: who meets it below itself is in a circle
	w := 1
	for _, part := range parts(s) {
		if w += weigh(part, known); w > maxWeight {
			return maxWeight + 1
		}
	}
	known[s] = w
	return w
}

// parts returns the schemas that s applies to a value or to what is in it.
func parts(s *jsonschema.Schema) []*jsonschema.Schema {
	all := []*jsonschema.Schema{
		s.Ref, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.UnevaluatedProperties,
		s.Contains, s.Items2020, s.UnevaluatedItems,
	}
	if additional, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		all = append(all, additional)
	}
	all = slices.Concat(all, s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems)
	all = slices.AppendSeq(all, maps.Values(s.Properties))
	all = slices.AppendSeq(all, maps.Values(s.PatternProperties))
	all = slices.AppendSeq(all, maps.Values(s.DependentSchemas))
	return slices.DeleteFunc(all, func(part *jsonschema.Schema) bool { return part == nil })
}

// properties returns the names of the parameters that a schema declares.
func properties(s *jsonschema.Schema) []string {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}
