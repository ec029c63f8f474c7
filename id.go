package errand

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// NewID returns a fresh id of 32 lower-case hexadecimal digits: 48 bits of
// Unix milliseconds, then 80 random bits. Ids made later sort later, which
// keeps the pages of an index that are written close together.
func NewID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails (crypto/rand aborts the program instead)
	return hex.EncodeToString(b[:])
}

// ValidID reports whether s has the form of a task or job id: 32 lower-case
// hexadecimal digits. The provider's own ids have it too.
func ValidID(s string) bool {
	return len(s) == 32 && allHex(s)
}

// ValidInstanceID reports whether s is a dashed UUID in lower case, the form
// that the provider demands of an instance id.
func ValidInstanceID(s string) bool { return dashedUUID(s) }

// ValidProjectID reports whether s is 32 lower-case hexadecimal digits or a
// dashed UUID: the provider's pages show both.
func ValidProjectID(s string) bool { return ValidID(s) || dashedUUID(s) }

func dashedUUID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
		allHex(s[:8]) && allHex(s[9:13]) && allHex(s[14:18]) && allHex(s[19:23]) && allHex(s[24:])
}

func allHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
