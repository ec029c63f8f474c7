// Package records reads records of tasks that ran at the provider, in the
// provider's own words: the answers of its list and show calls. Three shapes
// are known, and told apart member by member rather than by a switch:
//
//   - DMS (Kafka, RocketMQ, RabbitMQ): ListBackgroundTasks and
//     ShowBackgroundTask, https://support.huaweicloud.com/api-kafka/
//   - DCS (Redis): ListBackgroundTask, which adds "details" and "enable_show",
//     https://support.huaweicloud.com/api-dcs/
//   - the DCS task centre: ListCenterTask, which adds "error_code" and "job_id".
//
// Errand adds two members that a record may carry: "progress", whose value is
// the provider's answer to its progress call for the task, and "reason", why
// the task failed or was cancelled.
//
// What is read is checked in full before anything is handed on: a record that
// could not be served as it came is an error that names its place.
package records

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/errandhq/errand"
)

// Limits bound what [Read] accepts. A zero member stands for its default.
type Limits struct {
	Bytes   int64 // of the whole input; 64 MiB
	Records int   // in all documents together; 100,000
	Depth   int   // of nested objects and arrays in a document; 32
}

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = 64 << 20
	}
	if l.Records == 0 {
		l.Records = 100_000
	}
	if l.Depth == 0 {
		l.Depth = 32
	}
	return l
}

// Summary says what an input held.
type Summary struct {
	Documents int
	Records   int

	// Announced is the greatest task_count of any document. Where it exceeds
	// Records, the input is certainly not the whole history: pages are missing.
	Announced int
}

// Read returns the records of one or more documents that follow each other in
// r. Project, Instance and Engine of the tasks are left empty; everything else
// passes [errand.Task.Validate].
//
// The first thing that is wrong ends it with an Invalid Error whose Subject is
// the member ("records" where no member is to blame) and whose message names
// the document and the record in it, both counted from 1, and the offset in
// bytes from the start of r. An error of r itself is returned wrapped. No
// records are returned with an error.
func Read(r io.Reader, l Limits) ([]*errand.Task, Summary, error) {
	l = l.orDefault()
	d := &decoder{lim: l, json: json.NewDecoder(&input{r: r, max: l.Bytes})}
	d.json.UseNumber() // a number too great for a float64 is no error of the reader
	for {
		more, err := d.document()
		if err != nil {
			return nil, Summary{}, d.place(err)
		}
		if !more {
			return d.tasks, d.sum, nil
		}
	}
}

// maxSubject is the longest member name that an error carries as its Subject:
// names come from the input.
const maxSubject = 128

// A fault is what is wrong at one offset of the input. The decoder knows in
// which document and record that is.
type fault struct {
	at     int64
	member string
	msg    string
}

func (f *fault) Error() string { return f.msg }

func faultf(at int64, member, format string, args ...any) *fault {
	return &fault{at: at, member: member, msg: fmt.Sprintf(format, args...)}
}

type decoder struct {
	lim   Limits
	json  *json.Decoder
	tasks []*errand.Task
	sum   Summary

	record int // number of the current record in its document; 0 outside of one
	raw    json.RawMessage
}

// document reads the next document, or reports that there is none.
func (d *decoder) document() (bool, error) {
	tok, err := d.json.Token()
	if err == io.EOF {
		if d.sum.Documents == 0 {
			return false, faultf(0, "records", "the input is empty; expected an object with a %q array", "tasks")
		}
		return false, nil
	}
	d.sum.Documents++
	if err != nil {
		return false, err
	}
	start := d.json.InputOffset() - 1
	if tok != json.Delim('{') {
		return false, faultf(start, "records", "expected an object with a %q array, as the provider's list and show calls answer", "tasks")
	}
	seen := map[string]bool{}
	for d.json.More() {
		name, err := d.name(seen)
		if err != nil {
			return false, err
		}
		if err := d.envelope(name); err != nil {
			return false, err
		}
	}
	if _, err := d.json.Token(); err != nil { // the closing brace
		return false, err
	}
	if !seen["tasks"] {
		return false, noTasks(start, seen)
	}
	return true, nil
}

func noTasks(start int64, seen map[string]bool) error {
	const want = "expected an object with one, as the provider's list and show calls answer"
	if seen["error_code"] || seen["error_msg"] {
		return faultf(start, "tasks", "there is no %q array: this is an error answer; %s", "tasks", want)
	}
	return faultf(start, "tasks", "there is no %q array; %s", "tasks", want)
}

// name reads the name of the next member of a document.
func (d *decoder) name(seen map[string]bool) (string, error) {
	tok, err := d.json.Token()
	if err != nil {
		return "", err
	}
	name, ok := tok.(string)
	if !ok { // the decoder accepts nothing else here
		return "", fmt.Errorf("member name is a %T", tok)
	}
	if seen[name] {
		return "", faultf(d.json.InputOffset(), name, "member %.64q is there twice", name)
	}
	seen[name] = true
	return name, nil
}

// envelope reads the value of a document's member.
func (d *decoder) envelope(name string) error {
	if name == "tasks" {
		return d.array()
	}
	v, err := d.value(1)
	if err != nil || name != "task_count" {
		return err
	}
	n, err := count(v)
	if err != nil {
		return err
	}
	d.sum.Announced = max(d.sum.Announced, n)
	return nil
}

// count reads task_count: a string everywhere, and a number in the example of
// the DCS page.
func count(v value) (int, error) {
	text := string(v.raw)
	switch v.raw[0] {
	case '"':
		text = v.text()
	case 'n':
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, faultf(v.at, "task_count", "task_count %.64s is not a whole number such as \"12\" or 12", v.raw)
	}
	return int(n), nil
}

func (d *decoder) array() error {
	tok, err := d.json.Token()
	if err != nil {
		return err
	}
	if tok != json.Delim('[') {
		return faultf(d.json.InputOffset(), "tasks", "tasks is not an array of records")
	}
	for d.record = 1; d.json.More(); d.record++ {
		if d.sum.Records == d.lim.Records {
			return faultf(d.json.InputOffset(), "records", "there are more than %d records; split the import", d.lim.Records)
		}
		v, err := d.value(2)
		if err != nil {
			return err
		}
		t, err := readRecord(v)
		if err != nil {
			return err
		}
		d.tasks = append(d.tasks, t)
		d.sum.Records++
	}
	d.record = 0
	_, err = d.json.Token() // the closing bracket
	return err
}

// value reads one whole value that lies depth levels deep in its document. It
// is valid until the next call.
func (d *decoder) value(depth int) (value, error) {
	if err := d.json.Decode(&d.raw); err != nil {
		return value{}, err
	}
	v := value{raw: d.raw, at: d.json.InputOffset() - int64(len(d.raw))}
	return v, v.check(d.lim.Depth - depth)
}

// place turns the first error into the one that Read returns.
func (d *decoder) place(err error) error {
	where := fmt.Sprintf("document %d", max(d.sum.Documents, 1))
	if d.record > 0 {
		where += fmt.Sprintf(", record %d", d.record)
	}
	f, ok := errors.AsType[*fault](err)
	if ok {
		if f.member == "" || len(f.member) > maxSubject {
			f.member = "records"
		}
		return errand.Errorf(errand.Invalid, f.member, "%s (byte %d): %s", where, f.at, f.msg)
	}
	at := d.json.InputOffset()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errand.Errorf(errand.Invalid, "records", "%s (after byte %d): the input ends in the middle of a document", where, at)
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return errand.Errorf(errand.Invalid, "records", "%s (after byte %d): not JSON: %v", where, at, err)
	}
	return fmt.Errorf("read records: %w", err)
}

// oneOf lists words for a message, in a stable order.
func oneOf[V any](words map[string]V) []string {
	list := make([]string, 0, len(words))
	for w := range words {
		list = append(list, w)
	}
	slices.Sort(list)
	return list
}
