package records

import (
	"encoding/json"
	"strconv"
	"unicode/utf16"
)

// A value is one JSON value of which the syntax is known to be right, and the
// offset in the input at which it begins.
type value struct {
	raw []byte
	at  int64
}

// isNull reports whether v is null, which every SDK of the provider takes for
// an absent member.
func (v value) isNull() bool { return v.raw[0] == 'n' }

// what names the type of v for a message.
func (v value) what() string {
	switch v.raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// text returns the string that v is.
func (v value) text() string { return unquote(v.raw) }

func unquote(raw []byte) string {
	for _, c := range raw {
		if c == '\\' {
			var s string
			_ = json.Unmarshal(raw, &s) // the syntax is right, so it cannot fail
			return s
		}
	}
	return string(raw[1 : len(raw)-1])
}

// members calls fn for each member of the object that v is, in order, until fn
// fails. It is nothing for any other value.
func (v value) members(fn func(name string, m value) error) error {
	if v.raw[0] != '{' {
		return nil
	}
	for i := space(v.raw, 1); v.raw[i] != '}'; {
		end := skip(v.raw, i)
		name := unquote(v.raw[i:end])
		i = space(v.raw, space(v.raw, end)+1) // past the colon
		end = skip(v.raw, i)
		if err := fn(name, value{v.raw[i:end], v.at + int64(i)}); err != nil {
			return err
		}
		i = comma(v.raw, end)
	}
	return nil
}

// elements is members for arrays; the elements are counted from 0.
func (v value) elements(fn func(n int, e value) error) error {
	if v.raw[0] != '[' {
		return nil
	}
	for i, n := space(v.raw, 1), 0; v.raw[i] != ']'; n++ {
		end := skip(v.raw, i)
		if err := fn(n, value{v.raw[i:end], v.at + int64(i)}); err != nil {
			return err
		}
		i = comma(v.raw, end)
	}
	return nil
}

// member returns the member of v called name, or v itself if there is none.
func (v value) member(name string) value {
	found := v
	_ = v.members(func(n string, m value) error {
		if n == name {
			found = m
		}
		return nil
	})
	return found
}

// check refuses what JSON's grammar lets pass and nobody can keep or compare:
// names that are there twice, more than depth levels, NUL, half characters.
func (v value) check(depth int) error {
	switch v.raw[0] {
	case '"':
		return checkString(v)
	case '{', '[':
		if depth <= 0 {
			return faultf(v.at, "records", "objects and arrays are nested too deep")
		}
	}
	seen := map[string]bool{}
	err := v.members(func(name string, m value) error {
		if seen[name] {
			return faultf(m.at, name, "member %.64q is there twice", name)
		}
		seen[name] = true
		if hasNUL(name) {
			return faultf(m.at, "records", "the name of member %.64q holds NUL", name)
		}
		return m.check(depth - 1)
	})
	if err != nil {
		return err
	}
	return v.elements(func(_ int, e value) error { return e.check(depth - 1) })
}

// checkString looks at the \u escapes of a string: everything else was checked
// before.
func checkString(v value) error {
	for i := 0; i < len(v.raw); i++ {
		if v.raw[i] != '\\' {
			continue
		}
		i++
		if v.raw[i] != 'u' {
			continue
		}
		r := hex4(v.raw[i+1:])
		at := v.at + int64(i-1)
		i += 4
		switch {
		case r == 0:
			return faultf(at, "records", "a string holds NUL (\\u0000)")
		case !utf16.IsSurrogate(r):
			continue
		case len(v.raw) < i+7 || v.raw[i+1] != '\\' || v.raw[i+2] != 'u' ||
			utf16.DecodeRune(r, hex4(v.raw[i+3:])) == '\uFFFD':
			return faultf(at, "records", "a string holds half of a surrogate pair (\\u%04x)", r)
		}
		i += 6
	}
	return nil
}

func hex4(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 16) // the syntax is right
	return rune(n)
}

func hasNUL(s string) bool {
	for i := range len(s) {
		if s[i] == 0 {
			return true
		}
	}
	return false
}

// skip returns the end of the value or name that begins at raw[i].
func skip(raw []byte, i int) int {
	depth := 0
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			if depth > 0 {
				continue
			}
			for i < len(raw) && !ends(raw[i]) { // a number or a word
				i++
			}
			return i
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

// ends reports whether c ends a number or a word.
func ends(c byte) bool {
	switch c {
	case ',', ':', '}', ']', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// space returns the first offset from i on that is not white space.
func space(raw []byte, i int) int {
	for raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r' {
		i++
	}
	return i
}

// comma returns where the next member or element begins, or the list ends.
func comma(raw []byte, i int) int {
	i = space(raw, i)
	if raw[i] == ',' {
		i = space(raw, i+1)
	}
	return i
}
