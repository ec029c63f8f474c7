package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// keepBuffer bounds the buffers that a Key keeps for the next request.
const keepBuffer = 64 << 10

// Key is the secret half of an access key, ready to sign and verify. It is safe
// for concurrent use; once warm, verifying allocates nothing.
type Key struct {
	pool sync.Pool // of *scratch
}

// scratch is what one computation needs: a keyed hash and the buffers.
type scratch struct {
	mac    hash.Hash
	canon  []byte   // the canonical request, then the string to sign, then the signature
	query  []byte   // decoded names and values of the query; pairs point into it
	pairs  []pair   // the query
	values []string // the values of one header
}

// NewKey returns the Key of an access key's secret.
func NewKey(secret string) *Key {
	k := &Key{}
	k.pool.New = func() any { return &scratch{mac: hmac.New(sha256.New, []byte(secret))} }
	return k
}

// Verify reports whether r with the given body is what the holder of the secret
// signed. a is what Parse returned for r. It does not compare a.Date with a
// clock and it does not read r.Body. Errors: ErrMalformed, ErrBody,
// ErrMismatch.
func (k *Key) Verify(r *http.Request, a Authorization, body []byte) error {
	sum, err := k.sum(r, a.SignedHeaders, a.date, body)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(sum[:], a.signature[:]) != 1 {
		return ErrMismatch
	}
	return nil
}

// Sign signs an outgoing request with the given body: it sets the X-Sdk-Date
// and Authorization headers. Headers that are set later are not covered, and
// those that matter (the host, the content type, everything about projects and
// tokens) must not be changed later. Errors: ErrMalformed about the query, a
// header or the access key; ErrBody.
func Sign(r *http.Request, access, secret string, body []byte, now time.Time) error {
	return NewKey(secret).Sign(r, access, body, now)
}

// Sign is the function [Sign] with k as the secret.
func (k *Key) Sign(r *http.Request, access string, body []byte, now time.Time) error {
	if access == "" || len(access) > maxAccessLen || !all(access, isWord) {
		return malformed("the access key must be 1 to %d letters, digits, '-', '_' or '.'", maxAccessLen)
	}
	date := now.UTC().Format(DateFormat)
	r.Header.Set(DateHeader, date)
	signed := []string{"host"}
	for name := range r.Header {
		switch name {
		case "Content-Type", DateHeader, ContentHeader, TokenHeader, ProjectHeader:
			signed = append(signed, strings.ToLower(name))
		}
	}
	slices.Sort(signed)
	list := strings.Join(signed, ";")
	sum, err := k.sum(r, list, date, body)
	if err != nil {
		return err
	}
	v := Algorithm + " Access=" + access + ", SignedHeaders=" + list + ", Signature="
	r.Header.Set("Authorization", string(appendHex([]byte(v), sum[:])))
	return nil
}

// sum computes the signature of r.
func (k *Key) sum(r *http.Request, signed, date string, body []byte) (sum [32]byte, err error) {
	s := k.pool.Get().(*scratch)
	defer k.put(s)
	if err := s.canonical(r, signed, body); err != nil {
		return sum, err
	}
	digest := sha256.Sum256(s.canon)
	b := append(s.canon[:0], Algorithm+"\n"...)
	b = append(b, date...)
	b = append(b, '\n')
	b = appendHex(b, digest[:])
	s.mac.Reset()
	s.mac.Write(b)
	b = s.mac.Sum(b[:0])
	s.canon = b
	copy(sum[:], b)
	return sum, nil
}

// put gives s back, without the strings of the request and without buffers that
// an unusual request has blown up.
func (k *Key) put(s *scratch) {
	clear(s.values)
	if cap(s.canon) > keepBuffer || cap(s.query) > keepBuffer {
		s.canon, s.query, s.pairs = nil, nil, nil
	}
	k.pool.Put(s)
}
