package wire

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func TestAppendString(t *testing.T) {
	for _, s := range []string{
		"", "plain", `quote " and \ slash /`, "new\nline\r\ttab\n", "\x00\x01\x1f\x7f", "é 中文 🚀", "<b>&amp;</b>", "\u2028\u2029", "bad \xff utf8 \xc3", strings.Repeat("長い", 5000),
	} {
		got := AppendString(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Errorf("AppendString(%.40q) = %.80s: %v", s, got, err)
			continue
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); back != want {
			t.Errorf("AppendString(%.40q) reads back as %.80q", s, back)
		}
	}
}

// TestPlainLen puts each byte at each place of a text.
func TestPlainLen(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			s := []byte(strings.Repeat("a", 20))
			s[at] = byte(c)
			want := at
			if c >= 0x20 && c < 0x80 && c != '"' && c != '\\' {
				want = 20
			}
			if got := plainLen(string(s)); got != want {
				t.Errorf("byte %#x at %d: %d, want %d", c, at, got, want)
			}
		}
	}
}

func BenchmarkAppendString(b *testing.B) {
	s := `{"public_ip_id":"1aea7aed-e7d8-40ea-b3de-6f3ee9d5db9f","public_ip_address":"100.93.2.18","enable_public_ip":true}`
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = AppendString(buf[:0], s)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x00\xff中")
	f.Fuzz(func(t *testing.T, s string) {
		var back, want string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil {
			t.Fatal(err)
		}
		std, _ := json.Marshal(s)
		_ = json.Unmarshal(std, &want)
		if back != want {
			t.Errorf("reads back as %q, want %q", back, want)
		}
	})
}

func TestAppendTime(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2020, 6, 17, 7, 38, 42, 503_999_000, time.UTC),
		time.Date(2020, 6, 17, 7, 38, 42, 1_000_000, time.FixedZone("", 8*3600)),
		time.Unix(0, 0),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		want := `"` + at.UTC().Format("2006-01-02T15:04:05.000Z") + `"`
		if got := string(AppendTime(nil, at)); got != want {
			t.Errorf("AppendTime(%v) = %s, want %s", at, got, want)
		}
	}
}

func TestDecodeJSONSaysWhatIsWrong(t *testing.T) {
	for body, want := range map[string]string{
		`[1]`:          "a JSON object is needed, not an array",
		`"x"`:          "a JSON object is needed, not a string",
		`{"a":{}}`:     `member "a" cannot be an object`,
		`{"a":"1"}`:    `member "a" cannot be a string`,
		`{"a":1,"b":}`: "invalid character '}'",
	} {
		var b struct {
			A int `json:"a"`
		}
		err := DecodeJSON(httptest.NewRequest("POST", "/", strings.NewReader(body)), 1<<16, &b)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	type body struct {
		A int `json:"a"`
	}
	for _, tt := range []struct {
		name, body, subject string
	}{
		{"object", `{"a":1}`, ""},
		{"white space around", " {\"a\":1}\n", ""},
		{"empty", ``, "body_empty"},
		{"white space only", " \n", "body_empty"},
		{"truncated", `{"a":1`, "body"},
		{"wrong type", `{"a":"1"}`, "body"},
		{"not an object", `[1]`, "body"},
		{"unknown member", `{"a":1,"b":2}`, "body"},
		{"two values", `{"a":1}{"a":2}`, "body"},
		{"a bracket too many", `{"a":1}}`, "body"},
		{"not UTF-8", "{\"\xff\":1}", "body"},
		{"deep", strings.Repeat("[", 20_000), "body"},
		{"too long", `{"a":` + strings.Repeat("1", 1<<16) + `}`, "body_size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b body
			err := DecodeJSON(httptest.NewRequest("POST", "/", strings.NewReader(tt.body)), 1<<16, &b)
			if e := errand.ErrorOf(err); (e == nil) != (tt.subject == "") || e != nil && (e.Kind != errand.Invalid || e.Subject != tt.subject) {
				t.Errorf("DecodeJSON = %v, want error about %q", err, tt.subject)
			}
			if err != nil && strings.Contains(err.Error(), "wire.body") {
				t.Errorf("the message names a type of ours: %v", err)
			}
			if tt.subject == "" && b.A != 1 {
				t.Errorf("a = %d", b.A)
			}
		})
	}
}
