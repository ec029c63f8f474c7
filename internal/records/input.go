package records

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// input passes on what it reads as long as it is UTF-8 and not too much:
// encoding/json would replace bad bytes without a word. A byte order mark, which
// some editors put in front, becomes white space so that offsets stay true.
type input struct {
	r   io.Reader
	max int64 // bytes that may be read

	n    int64  // bytes passed on so far
	gap  int    // how many of the last of them are white space
	rest []byte // the first bytes of a character whose end is still to come
	err  error  // what r said, or what is wrong; nothing is read after it
}

func (in *input) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	if len(p) <= utf8.UTFMax {
		return 0, io.ErrShortBuffer
	}
	n := copy(p, in.rest)
	m, err := in.r.Read(p[n:])
	n += m
	good := text(p[:n])
	in.rest = append(in.rest[:0], p[good:n]...)
	in.err = err
	switch {
	case in.n+int64(n) > in.max:
		in.err = faultf(in.max, "size", "the input is larger than %d bytes; split the import", in.max)
	case len(in.rest) > 0 && (err == io.EOF || utf8.FullRune(in.rest)):
		in.err = faultf(in.n+int64(good), "records", "byte 0x%02x is not part of a UTF-8 character; the input must be UTF-8 throughout", in.rest[0])
	case in.wide(p[:good]):
		in.err = faultf(in.n, "records", "there are more than %d bytes of white space in a row", maxGap)
		return 0, in.err
	}
	if mark := []byte("\uFEFF"); in.n == 0 && bytes.HasPrefix(p[:good], mark) {
		copy(p, "   ")
	}
	in.n += int64(good)
	if good > 0 {
		return good, nil // the error, if any, comes with the next call
	}
	return 0, in.err
}

// maxGap is the longest run of white space. A json.Decoder looks at the whole
// run anew each time that it has read on, so that a long one would take for ever.
const maxGap = 64 << 10

// wide reports whether b ends or continues a run of white space that is too long.
func (in *input) wide(b []byte) bool {
	for _, c := range b {
		if c > ' ' {
			in.gap = 0
		} else if in.gap++; in.gap > maxGap {
			return true
		}
	}
	return false
}

// text returns the length of the longest prefix of b that is UTF-8 and ends
// with a whole character.
func text(b []byte) int {
	if utf8.Valid(b) {
		return len(b)
	}
	n := 0
	for {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size <= 1 {
			return n
		}
		n += size
	}
}
