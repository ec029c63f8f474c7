package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// schedules checks the calls about tasks that are to run later.
func (b *script) schedules(s service) {
	g := b.w.of[s.name]
	first, second, third := g.jobs[0], g.jobs[1], g.jobs[2]
	list := func(row string, jobs []record, total int, more ...any) {
		b.add(s, row, "ListScheduledTasks", args(append([]any{"instance_id", g.plan}, more...)...), wantJobs(total, jobs...))
	}
	modify := func(row string, job any, want func(client, seen) error, more ...any) *check {
		return b.add(s, row, "UpdateScheduledTask", args(append([]any{"instance_id", g.plan, "task_id", job}, more...)...), want)
	}
	remove := func(row string, job any, want func(client, seen) error) {
		b.add(s, row, "DeleteScheduledTask", args("instance_id", g.plan, "task_id", job), want)
	}
	none := w32("nobody")
	badTime := failure{400, "DMS.00400142", "Timestamp is invalid."}

	row := "a task that is to run later: list"
	b.add(s, row, listMethod(s), args("instance_id", g.plan), wantPage(s, planned, g.jobs, func(_ service, job record) record {
		out := maps.Clone(job)
		delete(out, "schedule_at")
		return out
	}))

	row = "scheduled tasks: list"
	var one any = "1"
	if s.name == "rocketmq" {
		one = 1 // its releases take a number here, the others a text
	}
	in := func(d time.Duration) string { return time.Now().UTC().Add(d).Format("20060102150405") }
	list(row, g.jobs, planned)
	list(row, g.jobs[1:2], planned, "start", "2", "limit", one)
	list(row, nil, planned, "start", "4", "limit", one)
	list(row, g.jobs, planned, "begin_time", in(-time.Hour), "end_time", in(time.Hour))
	list(row, nil, 0, "begin_time", in(time.Hour))
	b.add(s, row, "ListScheduledTasks", args("instance_id", g.empty), wantJobs(0))
	b.add(s, row, "ListScheduledTasks", args("instance_id", g.list), wantJobs(0)) // records are not scheduled
	b.add(s, row, "ListScheduledTasks", args("instance_id", g.busy), wantJobs(0)) // nor is what ran at once
	b.add(s, row, "ListScheduledTasks", args("instance_id", uuid("nobody")), wantError(noInstance(s)))
	b.add(s, row, "ListScheduledTasks", args("instance_id", g.plan, "begin_time", "yesterday"), wantError(badTime))
	b.add(s, row, "ListScheduledTasks", args("instance_id", g.plan, "start", "first"),
		wantError(failure{400, "DMS.00400062", "Invalid start parameter in the request."}))

	row = "scheduled tasks: move"
	later := time.Now().UTC().Truncate(time.Second).Add(30 * 24 * time.Hour)
	moved := with(first, "schedule_at", stamp(later))
	modify(row, first["id"], wantEmpty(204, nil), "execute_at", later.Format("20060102150405"))
	list(row, []record{moved, second, third}, planned)
	for _, bad := range []string{"tomorrow", "20261301000000", strconv.FormatInt(later.UnixMilli(), 10), later.AddDate(2, 0, 0).Format("20060102150405")} {
		modify(row, first["id"], wantError(badTime), "execute_at", bad)
	}
	modify(row, first["id"], wantError(badTime)) // neither a time nor a status
	modify(row, first["id"], wantError(failure{400, "DMS.00400062", "Invalid status parameter in the request."}), "status", "SUCCESS")
	modify(row, none, wantError(noTask(s)), "execute_at", later.Format("20060102150405"))
	modify(row, "42", wantError(failure{400, "DMS.00400070", "Invalid task ID format."}), "execute_at", later.Format("20060102150405"))
	v := b.w.keys.viewer
	c := modify(row, first["id"], wantError(failure{403, "DMS.00403003", "This role does not have the permissions to perform this operation."}), "status", "CANCELLED")
	c.AK, c.SK = v.ak, v.sk
	list(row, []record{moved, second, third}, planned)

	row = "scheduled tasks: cancel"
	cancelled := with(second, "status", "CANCELLED")
	modify(row, second["id"], wantEmpty(204, nil), "status", "CANCELLED")
	list(row, []record{moved, cancelled, third}, planned)
	modify(row, second["id"], wantError(failure{400, "DMS.00400026", "*"}), "status", "CANCELLED")
	modify(row, second["id"], wantError(failure{400, "DMS.00400026", "*"}), "execute_at", later.Format("20060102150405"))
	modify(row, none, wantError(noTask(s)), "status", "CANCELLED")

	row = "scheduled tasks: delete"
	remove(row, third["id"], wantEmpty(204, nil))
	list(row, []record{moved, cancelled}, planned-1)
	remove(row, third["id"], wantError(noTask(s)))
	remove(row, none, wantError(noTask(s)))
	remove(row, cancelled["id"], wantEmpty(204, nil))
	list(row, []record{moved}, 1)
}

func with(r record, name string, value any) record {
	out := maps.Clone(r)
	out[name], out["changed"] = value, true
	return out
}

// wantJobs wants a page of scheduled tasks. The time of the last change of one
// that the script changed is not known; it only must not be before.
func wantJobs(total int, jobs ...record) func(client, seen) error {
	return func(_ client, s seen) error {
		answer, err := ok(s)
		if err != nil {
			return err
		}
		count := answer["job_count"]
		if n, isNumber := count.(json.Number); isNumber {
			count = n.String() // newer releases have a number here, and read a text as one
		}
		if count != strconv.Itoa(total) {
			return fmt.Errorf("job_count is %v, want %d", count, total)
		}
		list, isList := answer["jobs"].([]any)
		if !isList || len(list) != len(jobs) {
			return fmt.Errorf("jobs is %v, want %d", answer["jobs"], len(jobs))
		}
		for i, v := range list {
			got, want := v.(map[string]any), maps.Clone(jobs[i])
			if want["changed"] == true {
				if at, _ := got["updated_at"].(string); at < want["updated_at"].(string) {
					return fmt.Errorf("job %d: updated_at is %q, before %v", i, at, want["updated_at"])
				}
				want["updated_at"] = got["updated_at"]
			}
			delete(want, "changed")
			if err := diff(got, normal(want)); err != nil {
				return fmt.Errorf("job %d: %w", i, err)
			}
		}
		return nil
	}
}
