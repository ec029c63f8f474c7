package mask_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/errandhq/errand/internal/mask"
)

func TestMask(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{"a": `p"w<&é`, "b": "line one\n-----\nline two\n", "short": "no", "empty": "", "prefix": "secret", "longer": "secret and more"}
	quoted, _ := json.Marshal(secrets["a"])
	var plain strings.Builder
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	if err := e.Encode(secrets["a"]); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`is p"w<&é.`:               "is ***.",
		"x" + string(quoted) + "y": `x"***"y`,
		plain.String():             "\"***\"\n",
		"?p=" + url.QueryEscape(secrets["a"]) + "&q":                      "?p=***&q",
		"/" + url.PathEscape(secrets["a"]) + "/":                          "/***/",
		base64.StdEncoding.EncodeToString([]byte(secrets["a"])):           "***",
		base64.RawURLEncoding.EncodeToString([]byte(secrets["a"])) + ".x": "***.x",
		base64.StdEncoding.EncodeToString([]byte(secrets["a"] + "\n")):    "***",
		"a line one of many":              "a *** of many",
		"line two":                        "***",
		"there is no news":                "there is no news",
		"a secret":                        "a ***",
		"a secret and more":               "a ***",
		"a secret and mor":                "a *** and mor",
		strings.Repeat("secret", 2) + "s": "******s",
	} {
		if got := mask.New(secrets).Text(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := mask.New(nil).Text("plain"); got != "plain" {
		t.Errorf("without secrets it became %q", got)
	}
}

func TestMaskJSON(t *testing.T) {
	t.Parallel()
	m := mask.New(map[string]string{"a": "12345", "b": "s3cret"})
	in := `{"k s3cret":[1.50,12345,"\u0073\u0033cret",null,true,{"x":"is s3cret"}]}`
	if got, want := string(m.JSON(json.RawMessage(in))), `{"k ***":[1.50,"***","***",null,true,{"x":"is ***"}]}`; got != want {
		t.Errorf("masked %s, want %s", got, want)
	}
	if m.JSON(nil) != nil {
		t.Error("nothing became something")
	}
	m = mask.New(map[string]string{"a": `{"user":"u","password":"p"}`, "b": `1","2`})
	for in, want := range map[string]string{
		`{"user":"u"}`:                      `{"user":"u"}`,
		`{"x":["1","2"]}`:                   `{"x":["***"]}`,
		`{"x":{"user":"u","password":"p"}}`: `{"x":{"password":"p","user":"u"}}`,
		`no JSON`:                           `null`,
	} {
		if got := string(m.JSON(json.RawMessage(in))); got != want {
			t.Errorf("masked %s to %s, want %s", in, got, want)
		}
	}
}
