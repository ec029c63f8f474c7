package errand

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStateMachine(t *testing.T) {
	allowed := map[[2]Status]bool{
		{Pending, Running}: true, {Pending, Cancelled}: true, {Pending, Failed}: true,
		{Running, Pending}: true, {Running, Succeeded}: true, {Running, Failed}: true, {Running, Cancelled}: true,
	}
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			if got := from.CanBecome(to); got != allowed[[2]Status{from, to}] {
				t.Errorf("%s can become %s: %v", from, to, got)
			}
		}
		wantFinal := from != Pending && from != Running
		if from.Final() != wantFinal || !from.Valid() {
			t.Errorf("%s: final %v, valid %v", from, from.Final(), from.Valid())
		}
	}
	if s := Status("done"); s.Valid() || s.Final() || s.CanBecome(Pending) {
		t.Error("an unknown status is taken for one")
	}
}

func TestErrorOf(t *testing.T) {
	cause := errors.New("disk on fire at /secret/path")
	known := Errorf(NotFound, "task", "task %s does not exist", "x").WithCause(cause)
	if got := ErrorOf(fmt.Errorf("call: %w", known)); got != known {
		t.Errorf("ErrorOf = %v, want the first Error of the chain", got)
	}
	if !errors.Is(known, cause) || known.Error() == known.Msg {
		t.Error("the cause is lost")
	}
	got := ErrorOf(cause)
	if got.Kind != Internal || strings.Contains(got.Msg, "secret") || !errors.Is(got, cause) {
		t.Errorf("ErrorOf(foreign) = %+v, want an internal one that hides its cause in Err", got)
	}
	if ErrorOf(nil) != nil {
		t.Error("ErrorOf(nil) is an error")
	}
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if name := k.String(); seen[name] || strings.HasPrefix(name, "kind(") {
			t.Errorf("kind %d has no name of its own: %q", k, name)
		} else {
			seen[name] = true
		}
	}
	if !strings.HasPrefix(Kind(len(Kinds())).String(), "kind(") {
		t.Error("Kinds does not list every kind that has a name")
	}
}

func TestNewID(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	seen := map[string]bool{}
	var last string
	for i := range 1000 {
		id := NewID(now.Add(time.Duration(i) * time.Millisecond))
		if !ValidID(id) || seen[id] || id <= last {
			t.Fatalf("id %q after %q: valid %v, seen %v", id, last, ValidID(id), seen[id])
		}
		seen[id], last = true, id
	}
}

func TestValidIDs(t *testing.T) {
	const id, uuid = "8abfa7b272adc5b40172b73130065ae7", "5560df16-cebf-4473-95c4-d1b573c16e79"
	for _, tt := range []struct {
		s                       string
		task, instance, project bool
	}{
		{id, true, false, true},
		{uuid, false, true, true},
		{"", false, false, false},
		{strings.ToUpper(id), false, false, false},
		{strings.ToUpper(uuid), false, false, false},
		{id[:31], false, false, false},
		{id + "0", false, false, false},
		{id[:31] + "g", false, false, false},
		{id[:31] + "é"[:1], false, false, false},
		{"5560df16cebf-4473-95c4-d1b573c16e79-", false, false, false},
		{"5560df16-cebf-4473-95c4-d1b573c16e7\n", false, false, false},
		{"{project_id}", false, false, false},
		{strings.Repeat("a", 100_000), false, false, false},
	} {
		if ValidID(tt.s) != tt.task || ValidInstanceID(tt.s) != tt.instance || ValidProjectID(tt.s) != tt.project {
			t.Errorf("%.40q: task %v, instance %v, project %v", tt.s, ValidID(tt.s), ValidInstanceID(tt.s), ValidProjectID(tt.s))
		}
	}
}

func TestPrincipalCan(t *testing.T) {
	want := map[Role][]Role{
		Viewer:   {Viewer},
		Operator: {Viewer, Operator},
		Worker:   {Viewer, Worker},
		Admin:    {Viewer, Operator, Worker, Admin},
		"":       {},
		"root":   {},
	}
	for has, can := range want {
		for _, need := range Roles() {
			if got := (Principal{Role: has}).Can(need); got != slices.Contains(can, need) {
				t.Errorf("role %q can what takes %s: %v", has, need, got)
			}
		}
	}
}

func validTask() *Task {
	at := time.Date(2020, 6, 17, 8, 18, 6, 597_000_000, time.UTC)
	id := "8abf6e1e72c12e7c0172c15b508500aa"
	return &Task{ID: id, JobID: id, Operation: "EXTEND", Status: Succeeded, CreatedAt: at, UpdatedAt: at}
}

func TestTaskValidate(t *testing.T) {
	if err := validTask().Validate(); err != nil {
		t.Fatal(err)
	}
	for subject, spoil := range map[string]func(*Task){
		"id":          func(t *Task) { t.ID = "x" },
		"job_id":      func(t *Task) { t.JobID = "" },
		"name":        func(t *Task) { t.Operation = "" },
		"user_id":     func(t *Task) { t.User.ID = strings.Repeat("x", MaxNameLen+1) },
		"user_name":   func(t *Task) { t.User.Name = "a\x00b" },
		"params":      func(t *Task) { t.Params = strings.Repeat("x", MaxParamsLen+1) },
		"details":     func(t *Task) { t.Details = make([]byte, MaxDetailsLen+1) },
		"status":      func(t *Task) { t.Status = "SUCCESS" },
		"error_code":  func(t *Task) { t.ErrorCode = "\xff" },
		"reason":      func(t *Task) { t.Reason = strings.Repeat("x", MaxAttributeLen+1) },
		"created_at":  func(t *Task) { t.CreatedAt = time.Time{} },
		"updated_at":  func(t *Task) { t.UpdatedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"progress":    func(t *Task) { t.Progress = &Progress{Percent: 101} },
		"remain_time": func(t *Task) { t.Progress = &Progress{Remaining: -1} },
		"steps":       func(t *Task) { t.Progress = &Progress{Steps: []Step{{Steps: make([]Step, MaxProgressSteps)}}} },
	} {
		x := validTask()
		spoil(x)
		if e := ErrorOf(x.Validate()); e == nil || e.Kind != Invalid || e.Subject != subject || len(e.Msg) > 200 {
			t.Errorf("Validate = %+v, want an invalid %s", e, subject)
		}
	}
}

func TestInstanceValidate(t *testing.T) {
	valid := func() *Instance {
		return &Instance{Project: "8abf6e1e72c12e7c0172c15b508500aa", ID: "5560df16-cebf-4473-95c4-d1b573c16e79", Name: "orders", Engine: Kafka}
	}
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for subject, spoil := range map[string]func(*Instance){
		"project_id":  func(i *Instance) { i.Project = "p" },
		"instance_id": func(i *Instance) { i.ID = "i" },
		"engine":      func(i *Instance) { i.Engine = "mysql" },
		"name":        func(i *Instance) { i.Name = "" },
		"name ":       func(i *Instance) { i.Name = "a\x1b[2Jb" },
		"attributes":  func(i *Instance) { i.Attributes = map[string]string{"k": strings.Repeat("v", MaxAttributeLen+1)} },
	} {
		x := valid()
		spoil(x)
		subject = strings.TrimSpace(subject)
		if e := ErrorOf(x.Validate()); e == nil || e.Kind != Invalid || e.Subject != subject {
			t.Errorf("Validate = %+v, want an invalid %s", e, subject)
		}
	}
}
