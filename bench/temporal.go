package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/errandhq/errand/bench/drive"
)

// temporalSystem is Temporal's development server: the binary, over gRPC. A task
// is a workflow of one activity, and its worker is in this process.
type temporalSystem struct {
	about  drive.About
	server *exec.Cmd
	client client.Client
}

const temporalQueue = "bench"

func temporalOwner() temporal.SearchAttributeKeyKeyword {
	return temporal.NewSearchAttributeKeyKeyword("Owner")
}

func startTemporal(ctx context.Context, binary, dir string) (drive.System, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &temporalSystem{}
	s.server = exec.Command(binary, "server", "start-dev", "--headless", "--ip=127.0.0.1", "--port="+strconv.Itoa(port),
		"--db-filename="+filepath.Join(dir, "temporal.db"), "--sqlite-pragma=journal_mode=WAL", "--sqlite-pragma=synchronous=FULL", "--search-attribute=Owner=Keyword", "--log-level=never")
	s.server.Env = append(os.Environ(), "HOME="+dir)
	s.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := s.server.Start(); err != nil {
		return nil, err
	}
	for {
		s.client, err = client.DialContext(ctx, client.Options{HostPort: fmt.Sprintf("127.0.0.1:%d", port), Logger: quiet{}})
		if err == nil || time.Since(began) > time.Minute {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		return nil, errors.Join(err, s.server.Process.Kill(), s.server.Wait())
	}
	s.about = drive.About{StartMS: float64(time.Since(began).Microseconds()) / 1000, PIDs: []int{s.server.Process.Pid}}
	return s, nil
}

// freePort returns a port that nobody has at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// quiet logs nothing.
type quiet struct{}

var _ log.Logger = quiet{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

func (s *temporalSystem) About() drive.About { return s.about }

func (s *temporalSystem) Submit(ctx context.Context, seq int64) error {
	_, err := s.start(ctx, seq)
	return err
}

func (s *temporalSystem) start(ctx context.Context, seq int64) (client.WorkflowRun, error) {
	return s.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: fmt.Sprintf("bench-%d-%d", os.Getpid(), seq), TaskQueue: temporalQueue,
		TypedSearchAttributes: temporal.NewSearchAttributes(temporalOwner().ValueSet(fmt.Sprintf("o%d", seq%owners))),
	}, benchWorkflow, string(payload(seq)))
}

// benchWorkflow is one activity.
func benchWorkflow(ctx workflow.Context, payload string) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	return workflow.ExecuteActivity(ctx, "benchActivity", payload).Get(ctx, nil)
}

func (s *temporalSystem) Work(n int, ev drive.Events) (func() error, error) {
	w := worker.New(s.client, temporalQueue, worker.Options{MaxConcurrentActivityExecutionSize: n, MaxConcurrentWorkflowTaskExecutionSize: max(2, n)})
	w.RegisterWorkflow(benchWorkflow)
	ctx, cancel := context.WithCancel(context.Background())
	w.RegisterActivityWithOptions(func(_ context.Context, payload string) error {
		seq := seqOf([]byte(payload))
		ev.Begun(seq)
		go func() { // the end of the workflow, as a client sees it
			if s.client.GetWorkflow(ctx, fmt.Sprintf("bench-%d-%d", os.Getpid(), seq), "").Get(ctx, nil) == nil {
				ev.Done(seq)
			}
		}()
		return nil
	}, activity.RegisterOptions{Name: "benchActivity"})
	if err := w.Start(); err != nil {
		cancel()
		return nil, err
	}
	return func() error { cancel(); w.Stop(); return nil }, nil
}

// Fill starts workflows of owner 0, which is slow: at most some.
func (s *temporalSystem) Fill(ctx context.Context, n int) error {
	n = min(n/10, temporalHistory)
	err := drive.Each(n, 32, func(i int) error { _, err := s.start(ctx, int64(i)*owners); return err })
	if err != nil {
		return err
	}
	for range 1000 { // they can be listed a little later
		if p, err := s.List(ctx, 0, true); err != nil || p.Total == n {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the workflows cannot be listed after ten seconds")
}

// temporalHistory is how many workflows are listed at the most.
const temporalHistory = 1000

func (s *temporalSystem) List(ctx context.Context, _ int, total bool) (drive.Page, error) {
	const query = "Owner = 'o0'"
	r, err := s.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: "default", PageSize: 10, Query: query})
	if err != nil {
		return drive.Page{}, err
	}
	p := drive.Page{Rows: len(r.Executions)}
	if !total {
		return p, nil
	}
	c, err := s.client.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: "default", Query: query})
	if err != nil {
		return p, err
	}
	p.Total = int(c.Count)
	return p, nil
}

func (s *temporalSystem) Close() error {
	s.client.Close()
	_ = s.server.Process.Signal(syscall.SIGTERM)
	_ = s.server.Wait()
	return nil
}
