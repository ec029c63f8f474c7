package wire

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func TestRemember(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	engine, calls := errand.Kafka, 0
	find := Remember(func(_ context.Context, p errand.Principal, project, id string) (errand.Instance, error) {
		calls++
		if p.Project != project {
			return errand.Instance{}, errors.New("not yours")
		}
		return errand.Instance{Project: project, ID: id, Engine: engine}, nil
	}, func() time.Time { return now })
	one := errand.Principal{Project: project}
	want := func(p errand.Principal, id string, e errand.Engine, made int) {
		t.Helper()
		i, err := find(t.Context(), p, project, id)
		if (err == nil) != (e != "") || i.Engine != e || calls != made {
			t.Errorf("%s: %q, %v after %d calls; want %q after %d", id, i.Engine, err, calls, e, made)
		}
	}
	want(one, kafkaID, errand.Kafka, 1)
	want(one, kafkaID, errand.Kafka, 1)
	want(errand.Principal{Project: "another"}, kafkaID, "", 2)
	want(one, rabbitID, errand.Kafka, 3)
	engine = errand.Redis
	now = now.Add(rememberFor - time.Nanosecond)
	want(one, kafkaID, errand.Kafka, 3)
	now = now.Add(time.Nanosecond)
	want(one, kafkaID, errand.Redis, 4)
	now = now.Add(-time.Hour) // the clock is set back
	want(one, kafkaID, errand.Redis, 5)
	want(one, kafkaID, errand.Redis, 5)
	for i := range remembered {
		if _, err := find(t.Context(), one, project, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	calls = 0
	want(one, kafkaID, errand.Redis, 1) // it had to make room
}
