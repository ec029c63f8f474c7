package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/bench/drive"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/worker"
)

// errandOperation is what is submitted: work for a worker, at most one at a time
// on each instance.
const errandOperation = "engine: kafka\nname: benchTask\n"

// owners is how many instances, or tenants, the tasks are spread over.
const owners = 256

// errandSystem is Errand as a user meets it: the binary, over HTTP, with signed
// requests. Its worker is in this process.
type errandSystem struct {
	about     drive.About
	server    *exec.Cmd
	cl        *client.Client
	project   string
	instances []string
}

// startErrand runs the binary on db, with what else it keeps in dir.
func startErrand(ctx context.Context, binary, db, dir string) (drive.System, error) {
	operations := filepath.Join(dir, "operations.d")
	if err := os.MkdirAll(operations, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(operations, "bench.yaml"), []byte(errandOperation), 0o600); err != nil {
		return nil, err
	}
	credentials := filepath.Join(dir, "credentials")
	s := &errandSystem{}
	began := time.Now()
	address, err := s.exec(binary, "serve", "--db="+db, "--listen=127.0.0.1:0", "--credentials="+credentials,
		"--key-file="+filepath.Join(dir, "errand.key"), "--work-dir="+filepath.Join(dir, "work"), "--operations="+operations, "--log-level=error")
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, address+"/readyz"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.about = drive.About{StartMS: float64(time.Since(began).Microseconds()) / 1000, PIDs: []int{s.server.Process.Pid}, Deep: true}
	if err := s.connect(ctx, address, credentials); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// exec starts the server and returns its address.
func (s *errandSystem) exec(binary string, args ...string) (string, error) {
	s.server = exec.Command(binary, args...)
	s.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	s.server.Stderr = &stderr
	out, err := s.server.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := s.server.Start(); err != nil {
		return "", err
	}
	address := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if a, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			address = a
		}
		if lines.Text() == "ready" {
			return address, nil
		}
	}
	return "", fmt.Errorf("errand serve: %w: %s", s.server.Wait(), stderr.String())
}

// answers waits until a URL answers 200.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

// connect makes a client, and the instances if they are not there.
func (s *errandSystem) connect(ctx context.Context, address, credentials string) error {
	text, err := os.ReadFile(credentials)
	if err != nil {
		return err
	}
	env := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	s.cl, err = client.New(client.Options{
		Server: address, Access: env["HUAWEICLOUD_SDK_AK"], Secret: env["HUAWEICLOUD_SDK_SK"],
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024}},
	})
	if err != nil {
		return err
	}
	s.project = env["HUAWEICLOUD_SDK_PROJECT_ID"]
	for i := range owners {
		s.instances = append(s.instances, fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
	}
	return drive.Each(owners, 16, func(i int) error {
		_, err := s.cl.Register(ctx, errand.Instance{Project: s.project, ID: s.instances[i], Name: fmt.Sprintf("bench %d", i), Engine: errand.Kafka})
		if err != nil && errand.ErrorOf(err).Kind == errand.Conflict {
			return nil
		}
		return err
	})
}

func (s *errandSystem) About() drive.About { return s.about }

func (s *errandSystem) Submit(ctx context.Context, seq int64) error {
	_, err := s.cl.Submit(ctx, s.project, s.instances[seq%owners], client.Submission{Operation: "benchTask", Params: payload(seq)})
	return err
}

// Work runs a pool of the public package worker.
func (s *errandSystem) Work(n int, ev drive.Events) (func() error, error) {
	source := &told{Source: s.cl.Source(s.project), ev: ev, seqs: map[string]int64{}}
	mux := &worker.Mux{}
	mux.Handle("benchTask", func(_ context.Context, j *worker.Job) error {
		ev.Begun(seqOf([]byte(j.Task.Params)))
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	pool := &worker.Pool{Source: source, Mux: mux, Name: "bench", Size: n, StopTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	return func() error { cancel(); return <-ended }, nil
}

// told tells when the end of an attempt is recorded.
type told struct {
	worker.Source
	ev   drive.Events
	mu   sync.Mutex
	seqs map[string]int64 // by token
}

func (t *told) Claim(ctx context.Context, c worker.ClaimRequest) ([]worker.Grant, error) {
	grants, err := t.Source.Claim(ctx, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range grants {
		t.seqs[g.Token] = seqOf([]byte(g.Task.Params))
	}
	return grants, err
}

func (t *told) Finish(ctx context.Context, token string, o errand.Outcome, log []byte) error {
	err := t.Source.Finish(ctx, token, o, log)
	if err == nil {
		t.mu.Lock()
		seq := t.seqs[token]
		delete(t.seqs, token)
		t.mu.Unlock()
		t.ev.Done(seq)
	}
	return err
}

// Fill imports records, which end up where tasks that ran here do.
func (s *errandSystem) Fill(ctx context.Context, n int) error {
	const most = 50_000 // of one import
	type part struct{ owner, from, to, of int }
	var parts []part
	for owner := range owners {
		size := n / 10
		if owner > 0 {
			size = n * 9 / 10 / (owners - 1)
		}
		for from := 0; from < size; from += most {
			parts = append(parts, part{owner, from, min(size, from+most), size})
		}
	}
	now := time.Now()
	return drive.Each(len(parts), 2, func(i int) error {
		p := parts[i]
		_, err := s.cl.Import(ctx, s.project, s.instances[p.owner], bytes.NewReader(errandRecords(now, p.from, p.to, p.of)))
		return err
	})
}

// errandRecords returns an answer of the provider's list call: the tasks numbered
// from up to to of an instance that has so many, spread over a year, in order.
func errandRecords(now time.Time, from, to, of int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"tasks":[`)
	const layout = "2006-01-02T15:04:05.000Z"
	for i := from; i < to; i++ {
		if i > from {
			b.WriteByte(',')
		}
		at := now.Add(time.Duration(i-of-1) * (365 * 24 * time.Hour / time.Duration(of))).UTC()
		fmt.Fprintf(&b, `{"id":%q,"name":"restartInstance","status":"SUCCESS","created_at":%q,"updated_at":%q}`,
			errand.NewID(at), at.Format(layout), at.Add(time.Second).Format(layout))
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func (s *errandSystem) List(ctx context.Context, offset int, _ bool) (drive.Page, error) {
	p, err := s.cl.Tasks(ctx, errand.Filter{Project: s.project, Instance: s.instances[0], Offset: offset, Limit: 10})
	return drive.Page{Rows: len(p.Tasks), Total: p.Total}, err
}

func (s *errandSystem) Close() error {
	if err := s.server.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.server.Wait()
}

// payload is what every task carries, and seqOf what is in it.
func payload(seq int64) []byte {
	return fmt.Appendf(nil, `{"seq":%d,"name":"log.retention.hours","value":"72"}`, seq)
}

func seqOf(payload []byte) int64 {
	var p struct {
		Seq int64 `json:"seq"`
	}
	_ = json.Unmarshal(payload, &p) // ours
	return p.Seq
}
