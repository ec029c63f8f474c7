package console

import (
	_ "embed"
	"encoding/json"
	"strings"

	"golang.org/x/text/language"
)

// chinese holds what the pages say, in Chinese by its English text.
//
//go:embed locale/zh.json
var chineseWords []byte

// words is what the pages say in other languages than English, in which they are
// written.
type words struct {
	zh      map[string]string
	matcher language.Matcher
}

func newWords() *words {
	w := &words{matcher: language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese})}
	if err := json.Unmarshal(chineseWords, &w.zh); err != nil {
		panic(err) // part of the program
	}
	return w
}

// chinese returns the Chinese of a text, or the text where there is none: a test
// finds those.
func (w *words) chinese(text string) string {
	if zh, ok := w.zh[text]; ok {
		return zh
	}
	return text
}

// preferred returns the language of ours that a browser asks for.
func (w *words) preferred(accept string) string {
	if tag, _ := language.MatchStrings(w.matcher, accept); strings.HasPrefix(tag.String(), "zh") {
		return "zh"
	}
	return "en"
}
