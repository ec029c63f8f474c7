package console

import (
	"net/http"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// frame is what every page has around it. Views embed it, so that templates find
// its members and methods in the view itself.
type frame struct {
	Title   string
	Root    string // the way to the console's root, as in "../"
	Here    string // the address of the page below the root, for forms that come back
	Active  string // the entry of the navigation that the page belongs to
	Theme   string
	Lang    string // of the document
	Who     string
	Role    errand.Role
	Project string // name of the project
	Seen    string // id of the project, which a session may leave in another window
	Switch  bool   // the session may be moved to another project
	Operate bool   // may submit, cancel, delete
	Admin   bool
	Notice  string
	Request string
	Version string
	Live    string // what of the page's subject is watched: the query of /live, "" for nothing
	ZoneTag string
	Asked   bool // the page was asked for: to load it once more does nothing

	CSS, JS string // names of the files with their hashes

	look look
}

// notices are what a page says after something was done, by the word that the
// address carries.
var notices = map[string]string{
	"registered": "The instance is registered.",
	"submitted":  "The task is submitted.",
	"cancelled":  "The task is cancelled.",
	"stopping":   "The task is asked to stop.",
	"moved":      "The start is moved.",
	"deleted":    "The record is deleted.",
	"saved":      "The change is saved.",
	"revoked":    "The access key is revoked.",
	"added":      "The user is added.",
}

func (c *Console) frame(v *visit, title, active string) frame {
	f := frame{
		Title: v.look.t(title), Root: root(v.URL.EscapedPath()), Active: active, Theme: v.look.theme, Lang: "en",
		Here: strings.TrimPrefix(v.URL.RequestURI(), "/"),
		Who:  clean(v.who.User.Name, cutCell), Role: v.who.Role, Project: clean(v.session.Project.Name, cutCell), Seen: v.who.Project,
		Switch:  v.session.Access == "",
		Operate: v.who.Can(errand.Operator) && v.who.Project != "", Admin: v.who.Can(errand.Admin) && v.who.Project != "",
		Request: wire.ExchangeOf(v.Request).ID, Version: c.Version, ZoneTag: v.look.zone.String(), Asked: v.Method == http.MethodGet,
		CSS: c.static.css, JS: c.static.js, look: v.look,
	}
	if v.look.lang == "zh" {
		f.Lang = "zh-CN"
	}
	if v.Method != http.MethodGet { // what answers a form comes back to the page that shows it
		f.Here = safeNext(strings.TrimPrefix(v.URL.Path, "/"))
	}
	if text, ok := notices[v.URL.Query().Get("done")]; ok {
		f.Notice = v.look.t(text)
	}
	return f
}

// T says an English text in the language of the page.
func (f frame) T(text string, args ...any) string { return f.look.t(text, args...) }

// navItem is an entry of the navigation.
type navItem struct {
	Key, To, Text string
}

// Nav returns the entries of the navigation for who is signed in.
func (f frame) Nav() []navItem {
	if f.Project == "" {
		return nil
	}
	items := []navItem{
		{"overview", "", f.T("Overview")}, {"instances", "instances", f.T("Instances")}, {"tasks", "tasks", f.T("Tasks")},
	}
	if f.Operate {
		items = append(items, navItem{"submit", "submit", f.T("Submit")})
	}
	items = append(items, navItem{"operations", "operations", f.T("Operations")}, navItem{"workers", "workers", f.T("Workers")})
	if f.Admin {
		items = append(items, navItem{"users", "users", f.T("Users and keys")})
	}
	return append(items, navItem{"reference", "reference", f.T("API")})
}

// statusView is a status as a page shows it.
type statusView struct {
	Class string // of the chip
	Word  string
}

var statusWords = map[errand.Status]string{
	errand.Pending: "waiting", errand.Running: "running", errand.Succeeded: "succeeded", errand.Failed: "failed", errand.Cancelled: "cancelled",
}

func (l look) status(s errand.Status) statusView { return statusView{string(s), l.t(statusWords[s])} }

var stepWords = map[errand.StepStatus]string{
	errand.StepWaiting: "waiting", errand.StepRunning: "running", errand.StepSuspended: "suspended",
	errand.StepSucceeded: "succeeded", errand.StepFailed: "failed", errand.StepCancelled: "cancelled",
}

// stepClasses gives the statuses of steps the colours of those of tasks.
var stepClasses = map[errand.StepStatus]string{
	errand.StepWaiting: "pending", errand.StepRunning: "running", errand.StepSuspended: "pending",
	errand.StepSucceeded: "succeeded", errand.StepFailed: "failed", errand.StepCancelled: "cancelled",
}

func (l look) step(s errand.StepStatus) statusView {
	return statusView{stepClasses[s], l.t(stepWords[s])}
}

var engineNames = map[errand.Engine]string{
	errand.Kafka: "Kafka", errand.RocketMQ: "RocketMQ", errand.RabbitMQ: "RabbitMQ", errand.Redis: "Redis",
}

// title is what an operation is called, for people.
func (l look) title(o errand.Operation) string {
	if l.lang == "zh" && o.TitleZH != "" {
		return clean(o.TitleZH, cutCell)
	}
	return clean(o.Title, cutCell)
}
