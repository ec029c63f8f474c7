package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// Age is a time.Duration that is written like "90d", "12h" or "1d12h": a number
// of days, a duration, or both. 0 is for ever.
type Age time.Duration

const day = 24 * time.Hour

// UnmarshalText reads an age with its unit.
func (a *Age) UnmarshalText(b []byte) error {
	text, days := string(b), uint64(0)
	if n, rest, ok := strings.Cut(text, "d"); ok {
		var err error
		if days, err = strconv.ParseUint(n, 10, 16); err != nil {
			return badAge(b)
		}
		if text = rest; text == "" {
			text = "0"
		}
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return badAge(b)
	}
	*a = Age(time.Duration(days)*day + v)
	return nil
}

func badAge(b []byte) error {
	return fmt.Errorf("%.64q is not an age; write a number with its unit, such as 90d, 12h or 1d12h, or 0 for ever", b)
}

func (a Age) String() string {
	days, rest := time.Duration(a)/day, time.Duration(a)%day
	switch {
	case a == 0:
		return "0"
	case days == 0:
		return rest.String()
	case rest == 0:
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%s", days, rest)
}

// Keep says how long the history of one project is kept, where that differs from
// all others; it comes from a table [retention.PROJECT] of the settings file.
// What is nil is as for all others.
type Keep struct {
	Tasks *Age `toml:"keep_tasks"`
	Count *int `toml:"keep_count"`
	Logs  *Age `toml:"keep_logs"`
}

// For returns how long the history of a project is kept: KeepTasks, KeepCount and
// KeepLogs, or what the file says of that project.
func (c *Config) For(project string) (tasks time.Duration, count int, logs time.Duration) {
	keep := Keep{Tasks: &c.KeepTasks, Count: &c.KeepCount, Logs: &c.KeepLogs}
	own := c.Retention[project]
	if own.Tasks != nil {
		keep.Tasks = own.Tasks
	}
	if own.Count != nil {
		keep.Count = own.Count
	}
	if own.Logs != nil {
		keep.Logs = own.Logs
	}
	return time.Duration(*keep.Tasks), *keep.Count, time.Duration(*keep.Logs)
}

// checkRetention checks what is kept of all projects and of single ones.
func (c *Config) checkRetention() error {
	if err := checkKeep("", c.KeepTasks, c.KeepCount, c.KeepLogs); err != nil {
		return err
	}
	for _, project := range slices.Sorted(maps.Keys(c.Retention)) {
		if !errand.ValidProjectID(project) {
			return bad("retention", project, "a table [retention.PROJECT] is named by the id of a project, 32 lower-case hex digits or a UUID")
		}
		age, count, logs := c.For(project)
		if err := checkKeep("retention."+project+".", Age(age), count, Age(logs)); err != nil {
			return err
		}
	}
	return nil
}

func checkKeep(prefix string, age Age, count int, logs Age) error {
	switch {
	case age > 0 && age < Age(tasks.MinAge):
		return bad(prefix+"keep-tasks", age.String(), "it must be 0 for ever, or at least 1h; days are written like 90d")
	case count < 0:
		return bad(prefix+"keep-count", strconv.Itoa(count), "it must be 0 for any number, or 1 or more")
	case logs > 0 && logs < Age(tasks.MinAge):
		return bad(prefix+"keep-logs", logs.String(), "it must be 0 for as long as the task, or at least 1h; days are written like 30d")
	}
	return nil
}

// retentionSettings are the tables [retention.PROJECT] as they may be shown.
func (c *Config) retentionSettings() []Setting {
	var out []Setting
	for _, project := range slices.Sorted(maps.Keys(c.Retention)) {
		own := c.Retention[project]
		add := func(name, value string) {
			out = append(out, Setting{Name: "retention." + project + "." + name, Value: value, Source: c.Source("retention")})
		}
		if own.Tasks != nil {
			add("keep-tasks", own.Tasks.String())
		}
		if own.Count != nil {
			add("keep-count", strconv.Itoa(*own.Count))
		}
		if own.Logs != nil {
			add("keep-logs", own.Logs.String())
		}
	}
	return out
}
