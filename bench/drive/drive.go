// Package drive puts the same load on each of the systems that are compared. A
// driver is a process of its own: it holds one system, reads what to measure from
// standard input, a JSON object a line, and answers on standard output. So the
// systems do not share a heap, and one in another language is measured in the same
// way (see bullmq/peer.mjs).
package drive

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// System is what is compared. Its methods may be called concurrently.
type System interface {
	// About says what there is once the system is ready.
	About() About

	// Submit asks for a task that does nothing, for one of the owners, and
	// returns when the system says that it is kept. seq is in the payload.
	Submit(ctx context.Context, seq int64) error

	// Work runs tasks with n workers until stop is called, and tells ev of each.
	Work(n int, ev Events) (stop func() error, err error)

	// Fill stores a history of n tasks, of which a tenth belong to owner 0, or as
	// many as the system can be given in reasonable time.
	Fill(ctx context.Context, n int) error

	// List reads the newest ten tasks of owner 0 after offset, and where total is
	// set how many there are.
	List(ctx context.Context, offset int, total bool) (Page, error)

	Close() error
}

// Bulk is for systems that have a call for many tasks at once.
type Bulk interface {
	SubmitMany(ctx context.Context, first int64, n int) error
}

// Events is told what becomes of tasks.
type Events interface {
	Begun(seq int64) // the handler has been called
	Done(seq int64)  // the system has recorded the end, or the handler has returned where nobody can know
}

// About is the first answer of a driver.
type About struct {
	StartMS float64 `json:"start_ms"` // until it was ready
	PIDs    []int   `json:"pids"`     // of the system's own processes; none: it lives in this one
	Deep    bool    `json:"deep"`     // List takes an offset
	Error   string  `json:"error,omitempty"`
}

// Page is what List has read.
type Page struct{ Rows, Total int }

// Command is a line of standard input.
type Command struct {
	Do      string  `json:"do"` // submit, latency, drain, work, rest, fill, list, quit
	Clients int     `json:"clients,omitempty"`
	Workers int     `json:"workers,omitempty"`
	Tasks   int     `json:"tasks,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Deep    bool    `json:"deep,omitempty"`  // list: begin at nine tenths
	Total   bool    `json:"total,omitempty"` // list: with the exact total
}

// Result is the answer to a Command. Times are in milliseconds.
type Result struct {
	Count    int     `json:"count"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	BegunP50 float64 `json:"begun_p50"` // latency: until the handler was called
	BegunP99 float64 `json:"begun_p99"`
	Total    int     `json:"total"` // list: what the last page said
	Error    string  `json:"error,omitempty"`
}

// Rate returns how many there were in a second.
func (r Result) Rate() float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return float64(r.Count) / r.Seconds
}

// Serve answers commands until quit or the end of in.
func Serve(ctx context.Context, s System, in io.Reader, out io.Writer) error {
	d := &driver{System: s, tracker: newTracker()}
	answer := json.NewEncoder(out)
	if err := answer.Encode(s.About()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var c Command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		if c.Do == "quit" {
			break
		}
		r, err := d.do(ctx, c)
		if err != nil {
			r.Error = err.Error()
		}
		if err := answer.Encode(r); err != nil {
			return err
		}
	}
	return d.rest()
}

type driver struct {
	System
	*tracker
	seq  int64 // of the last task
	stop func() error
}

func (d *driver) do(ctx context.Context, c Command) (Result, error) {
	length := time.Duration(c.Seconds * float64(time.Second))
	switch c.Do {
	case "submit":
		return d.submit(ctx, c.Clients, length)
	case "latency":
		return d.latency(ctx, c.Workers, length)
	case "drain":
		return d.drain(ctx, c.Tasks, c.Workers, length)
	case "work":
		return Result{}, d.work(c.Workers)
	case "rest":
		return Result{}, d.rest()
	case "fill":
		start := time.Now()
		err := d.Fill(ctx, c.Tasks)
		return Result{Count: c.Tasks, Seconds: time.Since(start).Seconds()}, err
	case "list":
		return d.list(ctx, c, length)
	}
	return Result{}, fmt.Errorf("there is no command %q", c.Do)
}
