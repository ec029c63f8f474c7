package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// The tags of values as the YAML reader resolves them.
const (
	nullTag  = "!!null"
	boolTag  = "!!bool"
	intTag   = "!!int"
	floatTag = "!!float"
	textTag  = "!!str"
	timeTag  = "!!timestamp" // text that looks like a time; we have no use for times
	listTag  = "!!seq"
	mapTag   = "!!map"
)

// maxShown is how much of what was found an error shows.
const maxShown = 40

// vet refuses what YAML can say and a declaration must not: references from one
// place to another, which may grow without bound, tags, and a member named twice.
func (s *source) vet(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		s.fail(n, "expected a value, found the alias *%.*s; write the value out", maxShown, n.Value)
		return
	case n.Anchor != "":
		s.fail(n, "expected a value, found the anchor &%.*s; anchors are not supported", maxShown, n.Anchor)
	}
	switch n.ShortTag() {
	case nullTag, boolTag, intTag, floatTag, textTag, timeTag, listTag, mapTag:
	default:
		s.fail(n, "expected a value without a tag, found %.*s", maxShown, n.ShortTag())
	}
	if n.Kind != yaml.MappingNode {
		for _, child := range n.Content {
			s.vet(child)
		}
		return
	}
	seen := map[string]int{}
	for k, v := range pairs(n) {
		line, again := seen[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode || k.ShortTag() != textTag:
			s.fail(k, "expected the name of a member, found %s", found(k))
		case again:
			s.fail(k, "expected each member once, found %.*q again after line %d", maxShown, k.Value, line)
		}
		seen[k.Value] = k.Line
		s.vet(v)
	}
}

// pairs yields the members of a mapping.
func pairs(n *yaml.Node) func(yield func(k, v *yaml.Node) bool) {
	return func(yield func(k, v *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// found describes a value in an error.
func found(n *yaml.Node) string {
	switch n.ShortTag() {
	case nullTag:
		return "nothing"
	case boolTag, intTag, floatTag:
		return fmt.Sprintf("%.*s", maxShown, n.Value)
	case listTag:
		return "a list"
	case mapTag:
		return "a mapping"
	}
	if r := []rune(n.Value); len(r) > maxShown {
		return fmt.Sprintf("the text %q…", string(r[:maxShown]))
	}
	return fmt.Sprintf("the text %q", n.Value)
}

// object reads a mapping: each member by the function of its name. what says
// what the mapping is.
func (s *source) object(n *yaml.Node, what string, members map[string]func(*yaml.Node), required ...string) {
	if n.Kind != yaml.MappingNode {
		s.fail(n, "expected %s as a mapping, found %s", what, found(n))
		return
	}
	for k, v := range pairs(n) {
		read, ok := members[k.Value]
		if !ok {
			s.fail(k, "expected one of %s, found %s", strings.Join(slices.Sorted(maps.Keys(members)), ", "), found(k))
			continue
		}
		if read != nil {
			read(v)
		}
		required = slices.DeleteFunc(required, func(r string) bool { return r == k.Value })
	}
	for _, r := range required {
		s.fail(n, "expected the member %s of %s, found none", r, what)
	}
}

// list returns the members of a list.
func (s *source) list(n *yaml.Node, what string, limit int) []*yaml.Node {
	switch {
	case n.Kind != yaml.SequenceNode:
		s.fail(n, "expected a list of %s, found %s", what, found(n))
		return nil
	case len(n.Content) > limit:
		s.fail(n, "expected at most %d %s, found %d", limit, what, len(n.Content))
		return nil
	}
	return n.Content
}

// text returns a text of 1 to limit bytes without control characters.
func (s *source) text(n *yaml.Node, what string, limit int) (string, bool) {
	switch tag := n.ShortTag(); {
	case tag == boolTag || tag == intTag || tag == floatTag:
		s.fail(n, "expected %s as a text, found %s; put it in quotes", what, found(n))
	case tag != textTag && tag != timeTag:
		s.fail(n, "expected %s as a text, found %s", what, found(n))
	case n.Value == "" || len(n.Value) > limit:
		s.fail(n, "expected %s of 1 to %d bytes, found %d bytes", what, limit, len(n.Value))
	case strings.ContainsFunc(n.Value, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }):
		s.fail(n, "expected %s without control characters, found %s", what, found(n))
	default:
		return n.Value, true
	}
	return "", false
}

// oneOf returns one of the given words.
func (s *source) oneOf(n *yaml.Node, words ...string) (string, bool) {
	if tag := n.ShortTag(); tag == textTag && slices.Contains(words, n.Value) {
		return n.Value, true
	}
	s.fail(n, "expected %s, found %s", strings.Join(words, " or "), found(n))
	return "", false
}

// duration returns a duration of least to most.
func (s *source) duration(n *yaml.Node, least, most time.Duration) (time.Duration, bool) {
	d, err := time.ParseDuration(n.Value)
	switch {
	case n.ShortTag() != textTag || err != nil:
		s.fail(n, "expected a duration such as 90s, 5m or 1h30m, found %s", found(n))
	case d < least || d > most:
		s.fail(n, "expected a duration of %s to %s, found %s", short(least), short(most), found(n))
	default:
		return d, true
	}
	return 0, false
}

// short writes a duration as people do: 720h, not 720h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (s *source) integer(n *yaml.Node, least, most int) (int, bool) {
	i, err := strconv.Atoi(n.Value)
	if n.ShortTag() != intTag || err != nil || i < least || i > most {
		s.fail(n, "expected a whole number of %d to %d, found %s", least, most, found(n))
		return 0, false
	}
	return i, true
}

func (s *source) boolean(n *yaml.Node) (value, ok bool) {
	word, ok := n.Value, n.ShortTag() == boolTag
	if !ok {
		s.fail(n, "expected true or false, found %s", found(n))
	}
	return strings.EqualFold(word, "true"), ok
}

// appendJSON writes a value as JSON, with the members in their order.
func (s *source) appendJSON(b *bytes.Buffer, n *yaml.Node) {
	switch n.ShortTag() {
	case mapTag:
		b.WriteByte('{')
		for k, v := range pairs(n) {
			if b.Bytes()[b.Len()-1] != '{' {
				b.WriteByte(',')
			}
			s.appendString(b, k.Value)
			b.WriteByte(':')
			s.appendJSON(b, v)
		}
		b.WriteByte('}')
	case listTag:
		b.WriteByte('[')
		for i, v := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			s.appendJSON(b, v)
		}
		b.WriteByte(']')
	case nullTag:
		b.WriteString("null")
	case boolTag:
		b.WriteString(strings.ToLower(n.Value))
	case intTag, floatTag:
		s.appendNumber(b, n)
	default:
		s.appendString(b, n.Value)
	}
}

func (s *source) appendString(b *bytes.Buffer, text string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text)      // a string into memory
	b.Truncate(b.Len() - 1) // Encode ends the line
}

// appendNumber writes a number as it stands if JSON writes it so too, since that
// keeps its precision.
func (s *source) appendNumber(b *bytes.Buffer, n *yaml.Node) {
	text := n.Value
	if !json.Valid([]byte(text)) {
		var v any
		if err := n.Load(&v); err == nil {
			if j, err := json.Marshal(v); err == nil {
				text = string(j)
			}
		}
	}
	if !json.Valid([]byte(text)) || !modest(text) {
		s.fail(n, "expected a number that JSON can write, found %s", found(n))
		text = "0"
	}
	b.WriteString(text)
}

// modest reports whether a number can be computed with at no great cost: the
// validator takes 1e999999999 at its word.
func modest(number string) bool {
	if len(number) > 100 {
		return false
	}
	_, exponent, has := strings.Cut(strings.ToLower(number), "e")
	if !has {
		return true
	}
	x, err := strconv.Atoi(exponent)
	return err == nil && x >= -400 && x <= 400
}
