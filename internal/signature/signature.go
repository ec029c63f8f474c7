// Package signature makes and checks the request signature SDK-HMAC-SHA256 of
// Huawei Cloud's API gateway ("AK/SK signing" in the provider's API reference).
//
// A signature covers the method, the decoded path, the decoded and sorted
// query, the headers that it names, and the hash of the body. The server reads
// it in two halves, because the secret must be looked up in between: [Parse]
// says which access key signed, [Key.Verify] whether it really did.
package signature

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Algorithm is the only algorithm of the family that is supported. The others
// (SDK-HMAC-SM3, SDK-ECDSA-P256-SHA256, SDK-SM2-SM3, V11-HMAC-SHA256) must be
// asked for in a client and are refused with [ErrUnsupported].
const Algorithm = "SDK-HMAC-SHA256"

// The headers that take part in signing, besides Authorization.
const (
	DateHeader    = "X-Sdk-Date"           // when the request was signed
	ContentHeader = "X-Sdk-Content-Sha256" // hash of the body, or UnsignedPayload
	TokenHeader   = "X-Security-Token"     // accompanies a temporary access key
	ProjectHeader = "X-Project-Id"
)

// UnsignedPayload in ContentHeader says that the signature does not cover the
// body.
const UnsignedPayload = "UNSIGNED-PAYLOAD"

// DateFormat is how DateHeader spells a time, always in UTC.
const DateFormat = "20060102T150405Z"

// The limits of what a signature may name. Java clients sign every header that
// they send, some twenty; nobody sends more.
const (
	maxAuthorization = 4096
	maxHeaders       = 64
	maxNameLen       = 128
	maxAccessLen     = 128
	maxQueryPairs    = 1024
)

// Why a signature is refused. Errors of this package wrap one of these.
var (
	// ErrUnsupported: the Authorization header uses another scheme.
	ErrUnsupported = errors.New("signature: algorithm is not " + Algorithm)
	// ErrMalformed: a part is missing, repeated, unknown or badly formed.
	ErrMalformed = errors.New("signature: malformed")
	// ErrBody: the body is not the one whose hash ContentHeader names.
	ErrBody = errors.New("signature: body differs from " + ContentHeader)
	// ErrMismatch: the request is not what the holder of the secret signed.
	ErrMismatch = errors.New("signature: does not match the request")
)

// Authorization is what a request says about its signature. Nothing of it is
// proven before [Key.Verify].
type Authorization struct {
	Access        string    // the access key
	SignedHeaders string    // lower-case names joined by ";", in the signer's order
	Date          time.Time // DateHeader, UTC, whole seconds

	date      string // DateHeader as sent
	signature [32]byte
}

// Present reports whether the Authorization header of r holds a signature of
// this family, supported or not, rather than another scheme such as Basic.
func Present(r *http.Request) bool {
	for _, v := range r.Header["Authorization"] {
		if strings.HasPrefix(v, "SDK-") || strings.HasPrefix(v, "V11-") {
			return true
		}
	}
	return false
}

// Parse reads the Authorization and X-Sdk-Date headers of r. It tolerates any
// order and spacing of the parts, and nothing else: each part must be there
// once. Errors: ErrUnsupported, ErrMalformed.
func Parse(r *http.Request) (Authorization, error) {
	v, err := single(r.Header, "Authorization")
	if err != nil {
		return Authorization{}, err
	}
	a, err := parseAuthorization(v)
	if err != nil {
		return Authorization{}, err
	}
	if a.date, err = single(r.Header, DateHeader); err != nil {
		return Authorization{}, err
	}
	if len(a.date) != len(DateFormat) {
		return Authorization{}, malformed("%s must look like %s", DateHeader, DateFormat)
	}
	if a.Date, err = time.Parse(DateFormat, a.date); err != nil {
		return Authorization{}, malformed("%s must look like %s", DateHeader, DateFormat)
	}
	return a, nil
}

// single returns the only value of a header. name is in canonical form.
func single(h http.Header, name string) (string, error) {
	switch v := h[name]; len(v) {
	case 0:
		return "", malformed("header %s is missing", name)
	case 1:
		return strings.TrimSpace(v[0]), nil
	default:
		return "", malformed("header %s is sent %d times", name, len(v))
	}
}

// parseAuthorization reads "SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…".
func parseAuthorization(v string) (Authorization, error) {
	var a Authorization
	if len(v) > maxAuthorization {
		return a, malformed("the Authorization header is longer than %d bytes", maxAuthorization)
	}
	scheme, rest, ok := strings.Cut(v, " ")
	if scheme != Algorithm {
		return a, ErrUnsupported
	}
	if !ok {
		return a, malformed("nothing follows %s in the Authorization header", Algorithm)
	}
	var signature string
	for more := true; more; {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(part, "=")
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		if !ok || value == "" {
			return a, malformed("part %.40q of the Authorization header is not name=value", part)
		}
		var dst *string
		switch name {
		case "Access":
			dst = &a.Access
		case "SignedHeaders":
			dst = &a.SignedHeaders
		case "Signature":
			dst = &signature
		default:
			return a, malformed("part %.40q of the Authorization header is unknown", name)
		}
		if *dst != "" {
			return a, malformed("part %s of the Authorization header is repeated", name)
		}
		*dst = value
	}
	return a, a.check(signature)
}

// check checks the form of the three parts and decodes the signature into a.
func (a *Authorization) check(signature string) error {
	switch {
	case a.Access == "" || a.SignedHeaders == "" || signature == "":
		return malformed("the Authorization header needs Access, SignedHeaders and Signature")
	case len(a.Access) > maxAccessLen || !all(a.Access, isWord):
		return malformed("the access key must be 1 to %d letters, digits, '-', '_' or '.'", maxAccessLen)
	case !decodeHex(&a.signature, signature):
		return malformed("the signature must be 64 lower-case hex digits")
	}
	return checkSignedHeaders(a.SignedHeaders)
}

func checkSignedHeaders(list string) error {
	dated := false
	rest, more := list, true
	for n := 0; more; n++ {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		switch {
		case n == maxHeaders:
			return malformed("SignedHeaders names more than %d headers", maxHeaders)
		case name == "" || len(name) > maxNameLen || !all(name, isHeader):
			return malformed("SignedHeaders has %.40q, which is no lower-case header name", name)
		case more && names(rest, name):
			return malformed("SignedHeaders names %s twice", name)
		}
		dated = dated || name == "x-sdk-date"
	}
	if !dated {
		return malformed("SignedHeaders must name x-sdk-date")
	}
	return nil
}

// names reports whether name is an element of the list.
func names(list, name string) bool {
	for more := true; more; {
		var n string
		if n, list, more = strings.Cut(list, ";"); n == name {
			return true
		}
	}
	return false
}

const (
	lower = "abcdefghijklmnopqrstuvwxyz"
	word  = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
)

// What a character may stand in.
const (
	isWord   = 1 << iota // access keys; with "~" what RFC 3986 calls unreserved
	isHeader             // lower-case header names (RFC 9110, token)
)

var class = func() (t [256]uint8) {
	for _, c := range []byte(word) {
		t[c] |= isWord
	}
	for _, c := range []byte(lower + "0123456789!#$%&'*+-.^_`|~") {
		t[c] |= isHeader
	}
	return t
}()

func all(s string, in uint8) bool {
	for i := range len(s) {
		if class[s[i]]&in == 0 {
			return false
		}
	}
	return true
}

// decodeHex decodes 64 lower-case digits. An upper-case digit would be a second
// spelling of the same signature.
func decodeHex(dst *[32]byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range len(s) {
		var d byte
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			d = c - '0'
		case 'a' <= c && c <= 'f':
			d = c - 'a' + 10
		default:
			return false
		}
		dst[i/2] = dst[i/2]<<4 | d
	}
	return true
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
