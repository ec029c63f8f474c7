package signature

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
)

// emptyHash is the SHA-256 of no bytes.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

const upperHex, lowerHex = "0123456789ABCDEF", "0123456789abcdef"

// canonical writes the canonical request into s.canon:
//
//	METHOD \n path \n query \n (name:value \n)… \n signed headers \n body hash
func (s *scratch) canonical(r *http.Request, signed string, body []byte) error {
	b := append(s.canon[:0], r.Method...)
	b = append(b, '\n')
	b = appendPath(b, r.URL.Path)
	b = append(b, '\n')
	b, err := s.appendQuery(b, r.URL.RawQuery)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	rest, more := signed, true
	for more {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		if b, err = s.appendHeader(b, r, name); err != nil {
			return err
		}
	}
	b = append(b, '\n')
	b = append(b, signed...)
	b = append(b, '\n')
	s.canon, err = appendBodyHash(b, r.Header, body)
	return err
}

// appendPath escapes a decoded path segment by segment and ends it with a
// slash. A slash that the client had escaped counts as one: clients sign the
// decoded path.
func appendPath(b []byte, path string) []byte {
	for i := range len(path) {
		if path[i] == '/' {
			b = append(b, '/')
		} else {
			b = appendEscaped(b, path[i])
		}
	}
	if !strings.HasSuffix(path, "/") {
		b = append(b, '/')
	}
	return b
}

// pair is one decoded name and value of a query.
type pair struct{ name, value []byte }

func comparePairs(x, y pair) int {
	if c := bytes.Compare(x.name, y.name); c != 0 {
		return c
	}
	return bytes.Compare(x.value, y.value)
}

// appendQuery decodes a query, sorts it by name and value, and escapes it. A
// name without "=" counts as one with an empty value. What cannot be decoded is
// refused, because a handler may read it in another way than we do.
func (s *scratch) appendQuery(b []byte, raw string) ([]byte, error) {
	// Decoding never makes a query longer: s.query keeps its place in memory.
	s.query = slices.Grow(s.query[:0], len(raw))
	s.pairs = s.pairs[:0]
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		if part == "" {
			continue
		}
		if len(s.pairs) == maxQueryPairs {
			return b, malformed("the query has more than %d parameters", maxQueryPairs)
		}
		name, value, _ := strings.Cut(part, "=")
		start := len(s.query)
		if !s.decode(name) {
			return b, malformed("the query has a bad %%-escape in the name %.40q", name)
		}
		middle := len(s.query)
		if !s.decode(value) {
			return b, malformed("the query has a bad %%-escape in the value of %.40q", name)
		}
		s.pairs = append(s.pairs, pair{s.query[start:middle], s.query[middle:]})
	}
	slices.SortFunc(s.pairs, comparePairs)
	for i, p := range s.pairs {
		if i > 0 {
			b = append(b, '&')
		}
		for _, c := range p.name {
			b = appendEscaped(b, c)
		}
		b = append(b, '=')
		for _, c := range p.value {
			b = appendEscaped(b, c)
		}
	}
	return b, nil
}

// decode appends the decoded form of a query's name or value to s.query.
func (s *scratch) decode(v string) bool {
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(v) {
				return false
			}
			hi, lo := unhex(v[i+1]), unhex(v[i+2])
			if hi > 15 || lo > 15 {
				return false
			}
			c = hi<<4 | lo
			i += 2
		}
		s.query = append(s.query, c)
	}
	return true
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// appendHeader appends a line for each value of a header. name is in lower case.
func (s *scratch) appendHeader(b []byte, r *http.Request, name string) ([]byte, error) {
	s.values = s.values[:0]
	switch name {
	case "host": // net/http keeps it, with its port, outside of the headers
		host := r.Host
		if host == "" {
			host = r.URL.Host
		}
		s.values = append(s.values, host)
	case "transfer-encoding": // likewise
		s.values = append(s.values, r.TransferEncoding...)
	default:
		var buf [maxNameLen]byte
		s.values = append(s.values, r.Header[string(canonicalName(buf[:0], name))]...)
	}
	if len(s.values) == 0 {
		return b, malformed("SignedHeaders names %s, which the request does not have", name)
	}
	if len(s.values) > 1 {
		slices.Sort(s.values)
	}
	for _, v := range s.values {
		if strings.IndexByte(v, '\n') >= 0 { // it would pass for a line of its own
			return b, malformed("header %s has a line break", name)
		}
		b = append(b, name...)
		b = append(b, ':')
		b = append(b, strings.TrimSpace(v)...)
		b = append(b, '\n')
	}
	return b, nil
}

// canonicalName spells a lower-case header name as net/http keeps it. It does
// what http.CanonicalHeaderKey does, without allocating.
func canonicalName(b []byte, name string) []byte {
	up := true
	for i := range len(name) {
		c := name[i]
		if up && 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		up = c == '-'
		b = append(b, c)
	}
	return b
}

// appendBodyHash appends the hash of the body as the client states it, once it
// is known to be true, or else as it is.
//
// A client may leave the body out of the signature, as the Go SDK does for
// bodies that are not JSON. Here a JSON body must be signed.
func appendBodyHash(b []byte, h http.Header, body []byte) ([]byte, error) {
	stated, err := "", error(nil)
	if len(h[ContentHeader]) > 0 {
		if stated, err = single(h, ContentHeader); err != nil {
			return b, err
		}
	}
	if stated == UnsignedPayload {
		if !Unsigned(h) {
			return b, malformed("%s is %s, which is for bodies that are not JSON and have a Content-Type", ContentHeader, UnsignedPayload)
		}
		return append(b, UnsignedPayload...), nil
	}
	start := len(b)
	if len(body) == 0 {
		b = append(b, emptyHash...)
	} else {
		sum := sha256.Sum256(body)
		b = appendHex(b, sum[:])
	}
	if stated != "" && stated != string(b[start:]) {
		return b, ErrBody
	}
	return b, nil
}

// Unsigned reports whether the signature of a request with these headers does
// not cover the body, so that it need not be read to verify it.
func Unsigned(h http.Header) bool {
	stated, types := h[ContentHeader], h["Content-Type"]
	if len(stated) != 1 || strings.TrimSpace(stated[0]) != UnsignedPayload || len(types) == 0 {
		return false
	}
	for _, t := range types {
		t = strings.ToLower(t)
		if strings.TrimSpace(t) == "" || strings.Contains(t, "application/json") || strings.Contains(t, "application/bson") {
			return false
		}
	}
	return true
}

// appendEscaped appends c, as %XX unless RFC 3986 calls it unreserved.
func appendEscaped(b []byte, c byte) []byte {
	if class[c]&isWord != 0 || c == '~' {
		return append(b, c)
	}
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}

func appendHex(b, src []byte) []byte {
	for _, c := range src {
		b = append(b, lowerHex[c>>4], lowerHex[c&15])
	}
	return b
}
