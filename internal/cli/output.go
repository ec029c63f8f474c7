package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// The forms of the output. Every command knows text, json and yaml; those that
// print a table also know wide and name.
const (
	formText = "text"
	formWide = "wide"
	formJSON = "json"
	formYAML = "yaml"
	formName = "name"
)

// outputFlag adds -o.
func (a *app) outputFlag(cmd *cobra.Command) {
	a.formFlag(cmd, "form of the output: text, json or yaml", formText, formJSON, formYAML)
}

// tableFlag adds -o to a command that prints a table.
func (a *app) tableFlag(cmd *cobra.Command) {
	a.formFlag(cmd, "form of the output: text, wide (every column, nothing cut), json, yaml or name (one a line, for xargs)",
		formText, formWide, formJSON, formYAML, formName)
}

func (a *app) formFlag(cmd *cobra.Command, usage string, forms ...string) {
	a.output = formText
	if f := cmd.Flags().Lookup("output"); f != nil { // a client command has the shorter one already
		f.Usage, f.Value = usage, &oneOf{p: &a.output, of: forms}
	} else {
		cmd.Flags().VarP(&oneOf{p: &a.output, of: forms}, "output", "o", usage)
	}
	_ = cmd.RegisterFlagCompletionFunc("output", func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		if o, ok := c.Flags().Lookup("output").Value.(*oneOf); ok {
			return o.of, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	})
}

// oneOf is a flag that takes one of a few words.
type oneOf struct {
	p  *string
	of []string
}

func (o *oneOf) String() string {
	if o.p == nil {
		return ""
	}
	return *o.p
}
func (o *oneOf) Type() string { return strings.Join(o.of, "|") }
func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.of, s) {
		return fmt.Errorf("must be one of %s", strings.Join(o.of, ", "))
	}
	*o.p = s
	return nil
}

// structured reports whether a program is to read the output.
func (a *app) structured() bool { return a.output == formJSON || a.output == formYAML }

// data prints v for programs, as JSON or YAML.
func (a *app) data(v any) error {
	text, err := marshalJSON(v, "  ")
	if err == nil && a.output == formYAML {
		text, err = yamlOf(text)
	}
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(text)
	return err
}

// dataLine prints v as one of many: a line of JSON, or a document of YAML.
func (a *app) dataLine(v any) error {
	text, err := marshalJSON(v, "")
	if err == nil && a.output == formYAML {
		if text, err = yamlOf(text); err == nil {
			text = append([]byte("---\n"), text...)
		}
	}
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(text)
	return err
}

// print prints v for programs where that is asked for, else the table.
func (a *app) print(v any, t *table) error {
	switch {
	case a.structured():
		return a.data(v)
	case a.output == formName:
		return t.names(a.stdout)
	}
	return a.table(t)
}

// done prints that something was done, and nothing where a program reads.
func (a *app) done(format string, args ...any) error {
	if a.structured() {
		return a.data(struct{}{})
	}
	_, err := fmt.Fprintf(a.stdout, format+"\n", args...)
	return err
}

// marshalJSON writes v without escapes that only HTML needs, and with those that
// keep a terminal from obeying what somebody has put into a name.
func marshalJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return escapeHidden(b.Bytes()), nil
}

// escapeHidden writes characters that cannot be seen as \u escapes, which mean the
// same in strings of JSON and in quoted ones of YAML.
func escapeHidden(text []byte) []byte {
	if !bytes.ContainsFunc(text, hidden) {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for _, r := range string(text) {
		switch {
		case !hidden(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// hidden reports whether r changes what a terminal does instead of being shown.
// Spaces and line breaks are no such thing.
func hidden(r rune) bool {
	return r != '\n' && r != '\t' && r != utf8.RuneError && !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r)
}

// yamlOf writes a JSON text as YAML, with its members in the same order.
func yamlOf(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	n, err := yamlNode(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return escapeHidden(b.Bytes()), nil
}

func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if v == '[' {
			n.Kind = yaml.SequenceNode
		}
		for d.More() { // the names of members are strings like any other
			child, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		_, err := d.Token()
		return n, err
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if strings.ContainsFunc(v, func(r rune) bool { return hidden(r) || r == '\t' }) {
			n.Style = yaml.DoubleQuotedStyle // the only one that has escapes
		}
		return n, nil
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(v.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// names prints what -o name does: the key of each row, bare.
func (t *table) names(w io.Writer) error {
	at := slices.IndexFunc(t.columns, func(c column) bool { return c.is&isKey != 0 })
	for _, row := range t.rows {
		if _, err := fmt.Fprintln(w, oneLine(row[at])); err != nil {
			return err
		}
	}
	return nil
}
