package tasks_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
)

const (
	project  = "0123456789abcdef0123456789abcdef"
	other    = "ffffffffffffffffffffffffffffffff"
	kafkaID  = "11111111-2222-3333-4444-000000000001"
	redisID  = "11111111-2222-3333-4444-000000000002"
	nobodyID = "11111111-2222-3333-4444-00000000000f"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 678_000, time.UTC)

func as(role errand.Role) errand.Principal {
	return errand.Principal{User: errand.User{ID: "id-" + string(role), Name: string(role)}, Project: project, Role: role, Request: "r1", Remote: "192.0.2.7"}
}

// newService returns a service with a Kafka and a Redis instance.
func newService(t *testing.T) *tasks.Service {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "errand.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	s := tasks.New(store, func() time.Time { return now })
	for _, i := range []errand.Instance{
		{Project: project, ID: kafkaID, Name: "kafka", Engine: errand.Kafka},
		{Project: project, ID: redisID, Name: "redis", Engine: errand.Redis},
	} {
		if _, err := s.Register(t.Context(), as(errand.Admin), i); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// record returns a record whose id ends in n, created n minutes after midnight.
func record(n byte, status errand.Status) *errand.Task {
	id := strings.Repeat("0", 31) + string("0123456789abcdef"[n])
	at := time.Date(2026, 1, 1, 0, int(n), 0, 0, time.UTC)
	return &errand.Task{
		ID: id, JobID: id, Operation: "EXTEND", User: errand.User{ID: "u", Name: "ann"}, Params: "{}",
		Status: status, Origin: &errand.Origin{Status: "X"}, CreatedAt: at, UpdatedAt: at.Add(time.Second),
	}
}

func load(t *testing.T, s *tasks.Service, instance string, records ...*errand.Task) {
	t.Helper()
	if _, err := s.Import(t.Context(), as(errand.Operator), project, instance, records); err != nil {
		t.Fatal(err)
	}
}

// wants fails the test unless err is of the kind and about the subject; subject
// "" stands for no error.
func wants(t *testing.T, err error, kind errand.Kind, subject string) {
	t.Helper()
	e := errand.ErrorOf(err)
	if subject == "" && e != nil || subject != "" && (e == nil || e.Kind != kind || e.Subject != subject) {
		t.Errorf("error %#v, want %v about %q", e, kind, subject)
	}
}

// TestWho tries every call as everybody: what a role may do, and that a
// credential for one project opens no other.
func TestWho(t *testing.T) {
	calls := []struct {
		name string
		need errand.Role
		call func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error
	}{
		{"List", errand.Viewer, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, err := s.List(ctx, p, errand.Filter{Project: project, Limit: 1})
			return err
		}},
		{"Show", errand.Viewer, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, err := s.Show(ctx, p, project, kafkaID, record(1, errand.Succeeded).ID)
			return err
		}},
		{"Job", errand.Viewer, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, err := s.Job(ctx, p, project, errand.Kafka, record(1, errand.Succeeded).ID)
			return err
		}},
		{"Events", errand.Viewer, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, err := s.Events(ctx, p, project, record(1, errand.Succeeded).ID, 0, 10)
			return err
		}},
		{"Instance", errand.Viewer, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, err := s.Instance(ctx, p, project, kafkaID)
			return err
		}},
		{"Instances", errand.Viewer, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, _, err := s.Instances(ctx, p, project, 0, 10)
			return err
		}},
		{"Import", errand.Operator, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, err := s.Import(ctx, p, project, kafkaID, []*errand.Task{record(2, errand.Succeeded)})
			return err
		}},
		{"Register", errand.Operator, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			_, err := s.Register(ctx, p, errand.Instance{Project: project, ID: nobodyID, Name: "n", Engine: errand.Kafka})
			return err
		}},
		{"Delete", errand.Operator, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			return s.Delete(ctx, p, project, record(1, errand.Succeeded).ID, tasks.DeleteOptions{})
		}},
		{"Forget", errand.Admin, func(ctx context.Context, s *tasks.Service, p errand.Principal, project string) error {
			return s.Forget(ctx, p, project, redisID)
		}},
	}
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			load(t, s, kafkaID, record(1, errand.Succeeded))
			wants(t, c.call(t.Context(), s, errand.Principal{}, project), errand.Unauthenticated, "project_id")
			wants(t, c.call(t.Context(), s, as("root"), project), errand.Forbidden, "role")
			wants(t, c.call(t.Context(), s, as(errand.Admin), "x"), errand.Invalid, "project_id")
			wants(t, c.call(t.Context(), s, as(errand.Admin), other), errand.Unauthenticated, "project_id")
			for _, r := range []errand.Role{errand.Viewer, errand.Worker, errand.Operator, errand.Admin} {
				if p := as(r); !p.Can(c.need) {
					wants(t, c.call(t.Context(), s, p, project), errand.Forbidden, "role")
				}
			}
			wants(t, c.call(t.Context(), s, as(c.need), project), 0, "")
		})
	}
}

func TestListChecksItsFilter(t *testing.T) {
	s := newService(t)
	at := now
	for _, tt := range []struct {
		name    string
		filter  errand.Filter
		kind    errand.Kind
		subject string
	}{
		{"fine", errand.Filter{Limit: tasks.MaxLimit, Instance: kafkaID, From: at, To: at}, 0, ""},
		{"no limit", errand.Filter{}, errand.Invalid, "limit"},
		{"long", errand.Filter{Limit: tasks.MaxLimit + 1}, errand.Invalid, "limit"},
		{"negative offset", errand.Filter{Limit: 1, Offset: -1}, errand.Invalid, "offset"},
		{"bad instance", errand.Filter{Limit: 1, Instance: "x"}, errand.Invalid, "instance_id"},
		{"unknown instance", errand.Filter{Limit: 1, Instance: nobodyID}, errand.NotFound, "instance"},
		{"bad engine", errand.Filter{Limit: 1, Engine: "mysql"}, errand.Invalid, "engine"},
		{"backwards", errand.Filter{Limit: 1, From: at, To: at.Add(-1)}, errand.Invalid, "time_range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.filter.Project = project
			_, err := s.List(t.Context(), as(errand.Viewer), tt.filter)
			wants(t, err, tt.kind, tt.subject)
		})
	}
}

func TestShowAndJob(t *testing.T) {
	s := newService(t)
	one := record(1, errand.Succeeded)
	one.JobID = record(9, errand.Succeeded).ID
	load(t, s, redisID, one)
	v := as(errand.Viewer)
	for _, tt := range []struct {
		instance, id string
		kind         errand.Kind
		subject      string
	}{
		{redisID, one.ID, 0, ""},
		{"", one.ID, 0, ""},
		{kafkaID, one.ID, errand.NotFound, "task"},
		{nobodyID, one.ID, errand.NotFound, "instance"},
		{"x", one.ID, errand.Invalid, "instance_id"},
		{redisID, "x", errand.Invalid, "task_id"},
		{redisID, one.JobID, errand.NotFound, "task"},
	} {
		got, err := s.Show(t.Context(), v, project, tt.instance, tt.id)
		wants(t, err, tt.kind, tt.subject)
		if err == nil && got.ID != one.ID {
			t.Errorf("Show = %+v", got)
		}
	}
	got, err := s.Job(t.Context(), v, project, errand.Redis, one.JobID)
	if err != nil || got.ID != one.ID {
		t.Errorf("Job = %+v, %v", got, err)
	}
	_, err = s.Job(t.Context(), v, project, errand.Kafka, one.JobID)
	wants(t, err, errand.NotFound, "job")
	_, err = s.Job(t.Context(), v, project, errand.Redis, one.ID)
	wants(t, err, errand.NotFound, "job")
	_, err = s.Job(t.Context(), v, project, errand.Redis, "x")
	wants(t, err, errand.Invalid, "job_id")
}

func TestDelete(t *testing.T) {
	s := newService(t)
	load(t, s, kafkaID, record(1, errand.Pending), record(2, errand.Running), record(3, errand.Succeeded), record(4, errand.Failed), record(5, errand.Cancelled))
	op := as(errand.Operator)
	for n := byte(1); n <= 5; n++ {
		id := record(n, "").ID
		wants(t, s.Delete(t.Context(), op, project, id, tasks.DeleteOptions{Instance: redisID}), errand.NotFound, "task")
		wants(t, s.Delete(t.Context(), op, project, id, tasks.DeleteOptions{Engine: errand.Redis}), errand.NotFound, "task")
		err := s.Delete(t.Context(), op, project, id, tasks.DeleteOptions{Instance: kafkaID})
		if n <= 2 {
			wants(t, err, errand.Conflict, "task")
			continue
		}
		wants(t, err, 0, "")
		wants(t, s.Delete(t.Context(), op, project, id, tasks.DeleteOptions{}), errand.NotFound, "task")
	}
	page, err := s.List(t.Context(), op, errand.Filter{Project: project, Instance: kafkaID, Limit: 10})
	if err != nil || page.Total != 2 || len(page.Tasks) != 2 {
		t.Errorf("left: %+v, %v", page, err)
	}

	_, err = s.Events(t.Context(), op, project, record(9, "").ID, 0, 10)
	wants(t, err, errand.NotFound, "task")

	// Who deleted it is still known when the record is gone.
	events, err := s.Events(t.Context(), op, project, record(3, "").ID, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		events[i].Seq = 0
	}
	at := now.Truncate(time.Microsecond)
	want := []errand.Event{
		{Project: project, Instance: kafkaID, Task: record(3, "").ID, At: at, Act: errand.ActImported, Actor: op.User, To: errand.Succeeded, Request: "r1", Remote: "192.0.2.7"},
		{Project: project, Instance: kafkaID, Task: record(3, "").ID, At: at, Act: errand.ActDeleted, Actor: op.User, From: errand.Succeeded, Request: "r1", Remote: "192.0.2.7"},
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestImport(t *testing.T) {
	first := func() *errand.Task { return record(1, errand.Running) }
	with := func(change func(*errand.Task)) *errand.Task {
		x := first()
		change(x)
		return x
	}
	later := func(x *errand.Task) { x.UpdatedAt = x.UpdatedAt.Add(time.Minute) }
	for _, tt := range []struct {
		name    string
		records []*errand.Task
		want    tasks.Imported
		kind    errand.Kind
		subject string
		msg     string
	}{
		{"nothing", nil, tasks.Imported{}, 0, "", ""},
		{"the same again", []*errand.Task{first()}, tasks.Imported{Unchanged: 1}, 0, "", ""},
		{"twice in one import", []*errand.Task{record(2, errand.Failed), record(2, errand.Failed)}, tasks.Imported{Added: 1, Unchanged: 1}, 0, "", ""},
		{"it has ended since", []*errand.Task{with(func(x *errand.Task) { x.Status = errand.Succeeded; later(x) })}, tasks.Imported{Updated: 1}, 0, "", ""},
		{"it has moved on", []*errand.Task{with(func(x *errand.Task) { x.Progress = &errand.Progress{Percent: 50}; later(x) })}, tasks.Imported{Updated: 1}, 0, "", ""},
		{"an older copy", []*errand.Task{with(func(x *errand.Task) { x.Status = errand.Pending; x.UpdatedAt = x.CreatedAt })}, tasks.Imported{Unchanged: 1}, 0, "", ""},
		{"another name", []*errand.Task{with(func(x *errand.Task) { x.Operation = "modify"; later(x) })}, tasks.Imported{}, errand.Conflict, "record", "record 1"},
		{"another user", []*errand.Task{record(2, errand.Failed), with(func(x *errand.Task) { x.User.Name = "bob" })}, tasks.Imported{}, errand.Conflict, "record", "record 2"},
		{"the second of an id", []*errand.Task{record(2, errand.Failed), record(3, errand.Failed), with(func(x *errand.Task) { x.ID, x.JobID = record(2, "").ID, record(2, "").ID })}, tasks.Imported{}, errand.Conflict, "record", "record 3"},
		{"another time of creation", []*errand.Task{with(func(x *errand.Task) { x.CreatedAt = x.CreatedAt.Add(1000) })}, tasks.Imported{}, errand.Conflict, "record", "record 1"},
		{"malformed", []*errand.Task{record(2, errand.Failed), with(func(x *errand.Task) { x.ID = "x" })}, tasks.Imported{}, errand.Invalid, "id", "record 2"},
		{"too many", make([]*errand.Task, tasks.MaxImport+1), tasks.Imported{}, errand.Invalid, "records", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			load(t, s, kafkaID, first())
			got, err := s.Import(t.Context(), as(errand.Operator), project, kafkaID, tt.records)
			wants(t, err, tt.kind, tt.subject)
			if got != tt.want {
				t.Errorf("Import = %+v, want %+v", got, tt.want)
			}
			if e := errand.ErrorOf(err); e != nil && !strings.Contains(e.Msg, tt.msg) {
				t.Errorf("message %q does not say %q", e.Msg, tt.msg)
			}
			page, err := s.List(t.Context(), as(errand.Viewer), errand.Filter{Project: project, Limit: 10})
			if want := 1 + tt.want.Added; err != nil || page.Total != want {
				t.Errorf("after it: %d records, %v; want %d", page.Total, err, want)
			}
		})
	}
}

func TestImportElsewhere(t *testing.T) {
	s := newService(t)
	load(t, s, kafkaID, record(1, errand.Succeeded))
	op := as(errand.Operator)
	_, err := s.Import(t.Context(), op, project, redisID, []*errand.Task{record(1, errand.Succeeded)})
	wants(t, err, errand.Conflict, "record")
	_, err = s.Import(t.Context(), op, project, nobodyID, []*errand.Task{record(2, errand.Succeeded)})
	wants(t, err, errand.NotFound, "instance")
	_, err = s.Import(t.Context(), op, project, "x", nil)
	wants(t, err, errand.Invalid, "instance_id")

	changed := record(1, errand.Succeeded)
	changed.Params = `{"a":1}`
	_, err = s.Import(t.Context(), op, project, kafkaID, []*errand.Task{changed})
	wants(t, err, errand.Conflict, "record")
}

func TestInstances(t *testing.T) {
	s := newService(t)
	op := as(errand.Operator)
	_, err := s.Register(t.Context(), op, errand.Instance{Project: project, ID: kafkaID, Name: "again", Engine: errand.Kafka})
	wants(t, err, errand.Conflict, "instance")
	_, err = s.Register(t.Context(), op, errand.Instance{Project: project, ID: nobodyID, Name: "x", Engine: "mysql"})
	wants(t, err, errand.Invalid, "engine")
	list, total, err := s.Instances(t.Context(), op, project, 1, 10)
	if err != nil || total != 2 || len(list) != 1 || list[0].ID != redisID || !list[0].CreatedAt.Equal(now.Truncate(time.Microsecond)) {
		t.Errorf("Instances = %+v, %d, %v", list, total, err)
	}
	_, _, err = s.Instances(t.Context(), op, project, 0, 0)
	wants(t, err, errand.Invalid, "limit")
	_, _, err = s.Instances(t.Context(), op, project, -1, 1)
	wants(t, err, errand.Invalid, "offset")

	load(t, s, kafkaID, record(1, errand.Running))
	if err := s.Forget(t.Context(), as(errand.Admin), project, kafkaID); err != nil {
		t.Fatal(err)
	}
	_, err = s.Instance(t.Context(), op, project, kafkaID)
	wants(t, err, errand.NotFound, "instance")
	_, err = s.Show(t.Context(), op, project, "", record(1, "").ID)
	wants(t, err, errand.NotFound, "task")
	wants(t, s.Forget(t.Context(), as(errand.Admin), project, kafkaID), errand.NotFound, "instance")
}
