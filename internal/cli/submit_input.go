package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// inputs reads what a command takes from files and standard input. The latter
// can be given to one of them only.
type inputs struct {
	stdin io.Reader
	taken string // the flag that reads standard input, or ""
}

// read returns the content of a file, or of standard input if its name is "-".
func (in *inputs) read(flag, name string, limit int64) ([]byte, error) {
	from := in.stdin
	if name == "-" {
		if in.taken != "" {
			return nil, usage("--%s and --%s cannot both read standard input", in.taken, flag)
		}
		in.taken = flag
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage("--%s: %w", flag, err)
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = usage("--%s %s: at most %d bytes can be taken", flag, name, limit)
	}
	return b, err
}

// secrets reads values that must not be on the command line, where every process
// of the machine can see them: NAME=- is a line of standard input, NAME=@FILE the
// content of a file. One line break at the end is left out.
func (in *inputs) secrets(given []string) (map[string]string, error) {
	from, err := pairs("secret", given)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, source := range from {
		file, isFile := strings.CutPrefix(source, "@")
		if source == "-" {
			file, isFile = "-", true
		}
		if !isFile || file == "" {
			return nil, usage("--secret %s must be %s=- (standard input) or %s=@FILE: what is on a command line is no secret", name, name, name)
		}
		b, err := in.read("secret "+name, file, tasks.MaxSecret+2)
		if err != nil {
			return nil, err
		}
		out[name] = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	return out, nil
}

// params makes parameters of NAME=VALUE arguments. A value is taken as the type
// that the schema gives its member, and as a string where it gives none;
// NAME:=JSON is taken as it is.
func params(given []string, schema json.RawMessage) (json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		name, isJSON := strings.CutSuffix(name, ":")
		if !ok || name == "" {
			return nil, usage("--param %.64q must have the form NAME=VALUE or NAME:=JSON", g)
		}
		if out[name] != nil {
			return nil, usage("--param gives %.64q twice", name)
		}
		if isJSON && !json.Valid([]byte(value)) {
			return nil, usage("--param %s: what follows := must be JSON, such as 3, true or [\"a\"]", name)
		}
		if !isJSON && (slices.Contains(typesOf(schema, name), "string") || !fits(value, typesOf(schema, name))) {
			b, err := plainJSON(value)
			if err != nil {
				return nil, err
			}
			value = string(b)
		}
		out[name] = json.RawMessage(value)
	}
	return plainJSON(out)
}

// plainJSON is json.Marshal without escapes that only HTML needs: what is given
// is shown again.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// typesOf returns the types that a schema gives a member, as far as it says so
// outright.
func typesOf(schema json.RawMessage, name string) []string {
	var s struct {
		Properties map[string]struct {
			Type json.RawMessage `json:"type"`
		} `json:"properties"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	var one string
	if json.Unmarshal(s.Properties[name].Type, &one) == nil {
		return []string{one}
	}
	var several []string
	_ = json.Unmarshal(s.Properties[name].Type, &several) // none: not said outright
	return several
}

// fits reports whether text is JSON of one of types.
func fits(text string, types []string) bool {
	if !json.Valid([]byte(text)) {
		return false
	}
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return false
	}
	is := ""
	switch v.(type) {
	case float64:
		return slices.Contains(types, "number") || slices.Contains(types, "integer")
	case bool:
		is = "boolean"
	case []any:
		is = "array"
	case map[string]any:
		is = "object"
	case nil:
		is = "null"
	}
	return slices.Contains(types, is)
}

// schemaOf finds the schema of an operation in a catalog.
func schemaOf(all []errand.Operation, engine errand.Engine, name string) json.RawMessage {
	for _, o := range all {
		if o.Engine == engine && o.Name == name {
			return o.Schema
		}
	}
	return nil
}
