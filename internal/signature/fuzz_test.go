package signature

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// expected computes a signature in the plainest way, as a second opinion. It
// returns false where there is none.
func expected(r *http.Request, signed, secret string, body []byte) (string, bool) {
	q, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return "", false
	}
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	var segments, params, lines []string
	for _, s := range strings.Split(r.URL.Path, "/") {
		segments = append(segments, escape(s))
	}
	path := strings.TrimSuffix(strings.Join(segments, "/"), "/") + "/"
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		slices.Sort(q[name])
		for _, v := range q[name] {
			params = append(params, escape(name)+"="+escape(v))
		}
	}
	for _, name := range strings.Split(signed, ";") {
		values := slices.Clone(r.Header.Values(name))
		if name == "host" {
			values = []string{r.Host}
		}
		slices.Sort(values)
		for _, v := range values {
			if strings.Contains(v, "\n") {
				return "", false // no server lets it in
			}
			lines = append(lines, name+":"+strings.TrimSpace(v)+"\n")
		}
	}
	bodyHash := sha256.Sum256(body)
	canonical := strings.Join([]string{r.Method, path, strings.Join(params, "&"), strings.Join(lines, ""), signed, hex.EncodeToString(bodyHash[:])}, "\n")
	hash := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("SDK-HMAC-SHA256\n" + r.Header.Get("X-Sdk-Date") + "\n" + hex.EncodeToString(hash[:])))
	return hex.EncodeToString(mac.Sum(nil)), true
}

// FuzzRoundTrip holds what Sign makes against the plain computation and against
// Verify, and then changes one byte: nothing but the same request in another
// spelling may pass.
func FuzzRoundTrip(f *testing.F) {
	f.Add("a/b", "start=1&limit=10", "value", []byte("{}"), "secret", uint8(0), uint8(0), uint8('x'))
	f.Add("in/st a+é%", "b=2+3&a&é=%25&b=%2b", " trimmed ", []byte(nil), "s", uint8(1), uint8(3), uint8('%'))
	f.Add("x/", "a;b=1&&=", "", []byte("\x00"), "", uint8(2), uint8(1), uint8('&'))
	f.Fuzz(func(t *testing.T, path, query, header string, body []byte, secret string, part, at, with uint8) {
		r, err := http.NewRequest("POST", "http://errand:8080/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.URL.RawQuery = "/"+path, query
		r.Header.Set("X-Project-Id", header)
		if Sign(r, "AK", secret, body, signedAt) != nil {
			return // a query that cannot be decoded, a header with a line break
		}
		var wire bytes.Buffer
		if r.Write(&wire) != nil || strings.ContainsRune(header, '\r') {
			return // a header that cannot be sent
		}
		seen, ok := reread(wire.Bytes())
		if !ok || seen.URL.Path != r.URL.Path || seen.URL.RawQuery != query {
			return // an address that cannot be sent
		}
		a, err := Parse(seen)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := expected(seen, a.SignedHeaders, secret, body)
		if got := hex.EncodeToString(a.signature[:]); ok && got != want {
			t.Fatalf("signature %s, expected %s", got, want)
		}
		key := NewKey(secret)
		if err := key.Verify(seen, a, body); err != nil {
			t.Fatal(err)
		}
		switch part % 5 {
		case 0:
			seen.Method = change(seen.Method, at, with)
		case 1:
			seen.URL.Path = "/" + change(path, at, with)
		case 2:
			seen.URL.RawQuery = change(query, at, with)
		case 3:
			seen.Header.Set("X-Project-Id", change(seen.Header.Get("X-Project-Id"), at, with))
		case 4:
			body = []byte(change(string(body), at, with))
		}
		same, ok := expected(seen, a.SignedHeaders, secret, body)
		if err := key.Verify(seen, a, body); (err == nil) != (ok && same == want) {
			t.Fatalf("after a change of part %d: %v", part%5, err)
		}
	})
}

func reread(raw []byte) (*http.Request, bool) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	return r, err == nil
}

// change replaces the byte of s at the given place, or appends one to an empty s.
func change(s string, at, with uint8) string {
	if s == "" {
		return string([]byte{with})
	}
	b := []byte(s)
	b[int(at)%len(b)] = with
	return string(b)
}

// FuzzParseAuthorization looks for a header that crashes the parser, or that it
// accepts although it breaks a rule that the verifier relies on.
func FuzzParseAuthorization(f *testing.F) {
	sig := strings.Repeat("0123456789abcdef", 4)
	for _, v := range []string{
		"", "SDK-HMAC-SHA256", "SDK-HMAC-SHA256 ", "SDK-HMAC-SHA256 =,=,=",
		"SDK-HMAC-SHA256 Access=A, SignedHeaders=host;x-sdk-date, Signature=" + sig,
		"SDK-HMAC-SHA256 Signature=" + sig + ",Access=A,SignedHeaders=x-sdk-date",
		"SDK-HMAC-SHA256 Access=A, SignedHeaders=x-sdk-date;;host, Signature=" + sig,
		"SDK-HMAC-SHA256\tAccess=A", "SDK-HMAC-SM3 Access=A", "Bearer x",
	} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		a, err := parseAuthorization(v)
		if err != nil {
			return
		}
		headers := strings.Split(a.SignedHeaders, ";")
		slices.Sort(headers)
		switch {
		case !slices.Contains(headers, "x-sdk-date"):
			t.Errorf("accepted without the date: %q", v)
		case len(slices.Compact(slices.Clone(headers))) != len(headers):
			t.Errorf("accepted with a repeated header: %q", v)
		case len(headers) > maxHeaders || len(v) > maxAuthorization:
			t.Errorf("accepted beyond the limits: %q", v)
		case strings.ContainsFunc(a.Access+a.SignedHeaders, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
			t.Errorf("accepted with a character that is not visible ASCII: %q", v)
		case a.Access == "" || !strings.Contains(v, hex.EncodeToString(a.signature[:])):
			t.Errorf("%+v is not what %q says", a, v)
		}
	})
}
