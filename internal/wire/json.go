package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/errandhq/errand"
)

// plain words an error of encoding/json without the names of our types.
func plain(err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if t.Field == "" {
			return "a JSON object is needed, not " + article(t.Value)
		}
		return fmt.Sprintf("member %q cannot be %s", t.Field, article(t.Value))
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// article puts "a" or "an" before the name of a kind of JSON value.
func article(kind string) string {
	if strings.HasPrefix(kind, "array") || strings.HasPrefix(kind, "object") {
		return "an " + kind
	}
	return "a " + kind
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string (RFC 8259 section 7). Bytes that are
// not UTF-8 become U+FFFD.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := plainLen(s); i < len(s); i += plainLen(s[i:]) {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[start:i]...)
				b = append(b, "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// plainLen returns how many bytes at the beginning of s are ASCII and need no
// escape. It looks at eight at a time: most of what is sent is such text.
func plainLen(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		x := uint64(s[n]) | uint64(s[n+1])<<8 | uint64(s[n+2])<<16 | uint64(s[n+3])<<24 |
			uint64(s[n+4])<<32 | uint64(s[n+5])<<40 | uint64(s[n+6])<<48 | uint64(s[n+7])<<56
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// A byte's high bit is set in the sum where it is not ASCII, below 0x20,
		// a quotation mark or a backslash, and perhaps in bytes above such a one.
		if (x|(x-ones*0x20)|(quote-ones)|(slash-ones))&highs != 0 {
			break
		}
	}
	for ; n < len(s); n++ {
		if c := s[n]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return n
}

// AppendMember appends `"name":"value"` and a comma before it unless it is the
// first member of its object. The name must need no escaping.
func AppendMember(b []byte, name, value string) []byte {
	b = AppendName(b, name)
	return AppendString(b, value)
}

// AppendName appends `"name":`, after a comma where one is due.
func AppendName(b []byte, name string) []byte {
	if c := b[len(b)-1]; c != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// AppendTime appends t as the provider writes times: a JSON string in UTC with
// milliseconds, such as "2020-06-17T07:38:42.503Z".
func AppendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, sec := t.Clock()
	b = append(b, '"')
	b = appendDigits(b, year, 4)
	b = append(b, '-')
	b = appendDigits(b, int(month), 2)
	b = append(b, '-')
	b = appendDigits(b, day, 2)
	b = append(b, 'T')
	b = appendDigits(b, hour, 2)
	b = append(b, ':')
	b = appendDigits(b, minute, 2)
	b = append(b, ':')
	b = appendDigits(b, sec, 2)
	b = append(b, '.')
	b = appendDigits(b, t.Nanosecond()/int(time.Millisecond), 3)
	return append(b, 'Z', '"')
}

func appendDigits(b []byte, n, width int) []byte {
	at := len(b)
	b = append(b, "0000"[:width]...)
	for i := at + width - 1; i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// DecodeJSON reads the body of r as one JSON value into v. Members that v does
// not have are refused, so that a slip of the pen is not lost. Errors: Invalid
// about "body_size", "body_empty" or "body".
func DecodeJSON(r *http.Request, limit int64, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return errand.Errorf(errand.Invalid, "body_size", "the request body is longer than %d bytes", limit)
		}
		return errand.Errorf(errand.Invalid, "body", "the request body could not be read").WithCause(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return errand.Errorf(errand.Invalid, "body_empty", "the request body is empty; a JSON object is needed")
	}
	if !utf8.Valid(body) {
		return errand.Errorf(errand.Invalid, "body", "the request body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return errand.Errorf(errand.Invalid, "body", "the request body is not the JSON that is needed here: %.200s", plain(err))
	}
	// More would pass over a bracket that closes nothing.
	if rest := body[dec.InputOffset():]; len(bytes.TrimSpace(rest)) > 0 {
		return errand.Errorf(errand.Invalid, "body", "the request body holds more than one JSON value")
	}
	return nil
}
