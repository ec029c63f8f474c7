package console

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	_ "time/tzdata" // a static binary runs where there is no other
)

// look is how somebody wants to see pages: in which language, which colours and
// which zone of time.
type look struct {
	lang  string // "en" or "zh"
	theme string // "light", "dark" or "" for what the device says
	zone  *time.Location
	now   time.Time
	words *words
}

// The cookies of a look. The zone is set by the page itself, for only the browser
// knows it.
const (
	langCookie  = "errand-lang"
	themeCookie = "errand-theme"
	zoneCookie  = "errand-zone"

	lookAge = 365 * 24 * time.Hour
)

func (c *Console) lookOf(r *http.Request) look {
	value := func(name string) string {
		k, err := r.Cookie(name)
		if err != nil {
			return ""
		}
		return k.Value
	}
	l := look{lang: value(langCookie), theme: value(themeCookie), zone: time.UTC, now: c.Now(), words: c.words}
	if l.lang != "en" && l.lang != "zh" {
		l.lang = c.words.preferred(r.Header.Get("Accept-Language"))
	}
	if l.theme != "light" && l.theme != "dark" {
		l.theme = ""
	}
	if name := value(zoneCookie); name != "" && name != "Local" && len(name) < 64 {
		if z, err := time.LoadLocation(name); err == nil {
			l.zone = z
		}
	}
	return l
}

// settings keeps a choice of language or colours, and goes back.
func (c *Console) settings(v *visit) (reply, error) {
	a := reply{to: safeNext(v.PostForm.Get("next"))}
	if lang := v.PostForm.Get("lang"); lang == "en" || lang == "zh" {
		a.cookies = append(a.cookies, cookie(v.Request, langCookie, lang, lookAge))
	}
	switch theme := v.PostForm.Get("theme"); theme {
	case "light", "dark":
		a.cookies = append(a.cookies, cookie(v.Request, themeCookie, theme, lookAge))
	case "auto":
		a.cookies = append(a.cookies, cookie(v.Request, themeCookie, "", -time.Second))
	}
	return a, nil
}

// t says an English text in the language of the look. args are put in as
// fmt.Sprintf does, in the same order in every language.
func (l look) t(text string, args ...any) string {
	if l.lang == "zh" {
		text = l.words.chinese(text)
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// moment is a time as a page shows it.
type moment struct {
	ISO  string // for programs
	Text string // in the viewer's zone; "" for none
	UTC  string // for the tooltip
}

const (
	dayFormat    = "2006-01-02"
	minuteFormat = "2006-01-02 15:04"
	secondFormat = "2006-01-02 15:04:05"
)

func (l look) moment(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{ISO: t.UTC().Format(time.RFC3339), Text: t.In(l.zone).Format(secondFormat), UTC: t.UTC().Format(secondFormat) + " UTC"}
}

// ago is a moment that is said by how long it is from now.
func (l look) ago(t time.Time) moment {
	m := l.moment(t)
	if t.IsZero() {
		return m
	}
	m.UTC = m.Text + " (" + m.UTC + ")"
	switch d := l.now.Sub(t); {
	case d.Abs() < time.Second:
		m.Text = l.t("now")
	case d > 0:
		m.Text = l.t("%s ago", l.duration(d))
	default:
		m.Text = l.t("in %s", l.duration(-d))
	}
	return m
}

// duration words a duration with two units at the most.
func (l look) duration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	units := []struct {
		size time.Duration
		unit string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := strconv.Itoa(int(d/u.size)) + " " + l.t(u.unit)
		if i+1 < len(units) {
			if rest := d % u.size / units[i+1].size; rest > 0 && d < 10*u.size {
				text += " " + strconv.Itoa(int(rest)) + " " + l.t(units[i+1].unit)
			}
		}
		return text
	}
	if d >= time.Millisecond {
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	}
	return "0 " + l.t("s")
}

// number writes a count with its thousands apart.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
