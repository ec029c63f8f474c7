package nativejson

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/errandhq/errand"
)

// Moment is a time on the wire, RFC 3339 with microseconds, which is what is
// kept; the zero time is left out by omitzero.
type Moment struct{ time.Time }

const momentLayout = `"2006-01-02T15:04:05.000000Z"`

// MarshalJSON implements json.Marshaler.
func (m Moment) MarshalJSON() ([]byte, error) {
	return []byte(m.UTC().Format(momentLayout)), nil
}

// Span is a duration on the wire: seconds, with decimals where there are some.
type Span time.Duration

// MarshalJSON implements json.Marshaler.
func (s Span) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler. It reads to the microsecond.
func (s *Span) UnmarshalJSON(b []byte) error {
	var seconds float64
	err := json.Unmarshal(b, &seconds)
	*s = Span(time.Duration(seconds*1e6+0.5) * time.Microsecond)
	return err
}

// Instance is an errand.Instance.
type Instance struct {
	Project    string            `json:"project"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Engine     errand.Engine     `json:"engine"`
	Attributes map[string]string `json:"attributes,omitempty"`
	CreatedAt  Moment            `json:"created_at"`
}

// InstanceOf returns the body of i.
func InstanceOf(i errand.Instance) Instance {
	return Instance{Project: i.Project, ID: i.ID, Name: i.Name, Engine: i.Engine, Attributes: i.Attributes, CreatedAt: Moment{i.CreatedAt}}
}

// Instance returns what b is the body of.
func (b Instance) Instance() errand.Instance {
	return errand.Instance{Project: b.Project, ID: b.ID, Name: b.Name, Engine: b.Engine, Attributes: b.Attributes, CreatedAt: b.CreatedAt.Time}
}

// Event is an errand.Event.
type Event struct {
	Seq      int64         `json:"seq"`
	Project  string        `json:"project"`
	Instance string        `json:"instance"`
	Task     string        `json:"task"`
	At       Moment        `json:"at"`
	Act      errand.Act    `json:"act"`
	Actor    User          `json:"actor"`
	From     errand.Status `json:"from,omitempty"`
	To       errand.Status `json:"to,omitempty"`
	Request  string        `json:"request_id,omitempty"`
	Remote   string        `json:"remote,omitempty"`
	Reason   string        `json:"reason,omitempty"`
}

// EventOf returns the body of e.
func EventOf(e errand.Event) Event {
	return Event{
		Seq: e.Seq, Project: e.Project, Instance: e.Instance, Task: e.Task, At: Moment{e.At}, Act: e.Act,
		Actor: User(e.Actor), From: e.From, To: e.To, Request: e.Request, Remote: e.Remote, Reason: e.Reason,
	}
}

// Event returns what b is the body of.
func (b Event) Event() errand.Event {
	return errand.Event{
		Seq: b.Seq, Project: b.Project, Instance: b.Instance, Task: b.Task, At: b.At.Time, Act: b.Act,
		Actor: errand.User(b.Actor), From: b.From, To: b.To, Request: b.Request, Remote: b.Remote, Reason: b.Reason,
	}
}
