package records

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/errandhq/errand"
)

// FuzzRead checks of any input: reading it never panics; what is accepted may be
// kept and is read the same way however it arrives; what is refused is refused
// with a clear error and nothing else.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "reference", "*.json"))
	if err != nil || len(files) != 5 {
		f.Fatalf("%d reference examples (%v), want 5", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{
		"", "{}", `{"tasks":[]}{"tasks":[]}`, document(record(""), record("")), "\ufeff" + document(),
		document(record(`"details":{"old_port":1,"rename_commands":["x"],"x":{"y":[[]]}},"enable_show":true,`)),
		document(record(`"progress":{"progress_percentage":33,"remain_time":3,"step_list":[{"name":"a","statue":"COMPLETED","status":"COMPLETED","start_time":"1763350067752","end_time":1763350069752}]},`)),
		document(record(`"progress":{"progress":60,"step_details":[{"step_name":"a","step_status":"FINISH","begin_time":"2020-06-17T08:18:06Z","sub_step_details":[{"sub_step_status":"SUSPEND","detail":"\ud83d\ude80"}]}]},`)),
		document(record(`"job_id":"` + id2 + `","error_code":"x","reason":"y","params":"\u0000",`)),
		document(record(`"x":"\ud83d",`)), `{"tasks":[{"id":"` + "\xff",
	} {
		f.Add([]byte(s))
	}
	limits := Limits{Bytes: 1 << 20, Records: 100, Depth: 16}
	f.Fuzz(func(t *testing.T, input []byte) {
		tasks, sum, err := Read(bytes.NewReader(input), limits)
		again, sum2, err2 := Read(iotest.OneByteReader(bytes.NewReader(input)), limits)
		if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() || sum != sum2 || !reflect.DeepEqual(tasks, again) {
			t.Fatalf("read twice, differently:\n%v %+v\n%v %+v", err, sum, err2, sum2)
		}
		if err != nil {
			e, ok := errors.AsType[*errand.Error](err)
			if !ok || e.Kind != errand.Invalid || e.Subject == "" || len(e.Subject) > maxSubject || len(e.Msg) > 1000 || !utf8.ValidString(e.Msg) || tasks != nil {
				t.Fatalf("%d tasks with error %+v", len(tasks), err)
			}
			return
		}
		if len(tasks) != sum.Records || sum.Documents == 0 {
			t.Errorf("%d tasks, summary %+v", len(tasks), sum)
		}
		for _, x := range tasks {
			if err := x.Validate(); err != nil {
				t.Errorf("accepted, but %v", err)
			}
			if x.Origin == nil || x.CreatedAt.Nanosecond()%1000 != 0 || x.UpdatedAt.Nanosecond()%1000 != 0 {
				t.Errorf("accepted %+v without an origin or with times finer than microseconds", x)
			}
		}
	})
}
