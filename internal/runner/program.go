package runner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/worker"
)

// program runs a declared program.
type program struct {
	catalog.Program
	opt Options
}

// drain is how long the output of a program is still read once nothing of it
// should be left: who holds it open then has hidden from us.
const drain = 2 * time.Second

// run is the handler.
func (p *program) run(ctx context.Context, j *worker.Job) error {
	dir, err := os.MkdirTemp(p.opt.Dir, workdirs+j.Task.ID+"-")
	if err != nil {
		return fmt.Errorf("no directory for the attempt: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			p.opt.Log.Warn("the directory of an attempt was not removed", "error", err)
		}
	}()
	pipes, err := newPipes(j)
	if err != nil {
		return err
	}
	defer pipes.close()
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Dir, cmd.Env = cmp.Or(p.Dir, dir), environment(j, dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = pipes.stdin, pipes.stdout, pipes.stderr, []*os.File{pipes.secrets}
	c, err := launch(cmd, dir)
	pipes.started()
	if err != nil {
		return notStarted(p.Path, err)
	}
	l, last := pipes.talk(j)
	stopped := p.await(ctx, c)
	if pipes.finish() != nil {
		j.Logf("[the output is cut here: a process that the program left behind still holds it open]")
	}
	if stopped {
		return context.Cause(ctx)
	}
	if l.error != nil {
		return l.error.failure()
	}
	return c.failure(last.text)
}

// await waits until nothing of c is left, and stops it when ctx is done: then it
// reports true.
func (p *program) await(ctx context.Context, c *child) bool {
	select {
	case <-c.gone:
		return false
	case <-ctx.Done():
	}
	if errors.Is(context.Cause(ctx), worker.ErrLeaseLost) { // somebody else may be at it now
		c.signal(syscall.SIGKILL)
	}
	c.signal(syscall.SIGTERM)
	kill := time.NewTimer(p.opt.Grace)
	defer kill.Stop()
	select {
	case <-c.gone:
		return true
	case <-kill.C:
	}
	c.signal(syscall.SIGKILL)
	<-c.gone
	return true
}

// notStarted says why a program could not be started. What another attempt would
// meet too is permanent.
func notStarted(path string, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	err = fmt.Errorf("the program %s cannot be started: %w", path, cmp.Or[error](errnoOf(err), err))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w (it, its directory, or the interpreter that its first line names is missing)", err)
		return worker.Permanent(worker.WithCode("ProgramMissing", err))
	case errors.Is(err, fs.ErrPermission), errno == syscall.ENOEXEC, errno == syscall.EISDIR, errno == syscall.ENOTDIR, errno == syscall.ELOOP:
		return worker.Permanent(worker.WithCode("ProgramNotExecutable", err))
	}
	return worker.WithCode("ProgramNotStarted", err)
}

// errnoOf returns the system's own error in err, without what os says around it.
func errnoOf(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return nil
}

// environment is all that a program gets of one.
func environment(j *worker.Job, dir string) []string {
	t := j.Task
	return []string{
		"PATH=" + cmp.Or(os.Getenv("PATH"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
		"HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8",
		"ERRAND_TASK_ID=" + t.ID, "ERRAND_ATTEMPT=" + strconv.Itoa(t.AttemptNumber()), "ERRAND_PROJECT_ID=" + t.Project,
		"ERRAND_INSTANCE_ID=" + t.Instance, "ERRAND_ENGINE=" + string(t.Engine), "ERRAND_OPERATION=" + t.Operation,
		marker(dir),
	}
}

// marker is the entry of the environment that tells whose process it is.
func marker(dir string) string { return "ERRAND_WORKDIR=" + filepath.Clean(dir) }

// taskInput is what a program is told of its task.
type taskInput struct {
	ID        string          `json:"id"`
	Project   string          `json:"project_id"`
	Instance  string          `json:"instance_id"`
	Engine    string          `json:"engine"`
	Operation string          `json:"operation"`
	Attempt   int             `json:"attempt"`
	UserID    string          `json:"user_id"`
	UserName  string          `json:"user_name"`
	Details   json.RawMessage `json:"details,omitempty"`
}

func input(j *worker.Job) ([]byte, error) {
	t := j.Task
	params := json.RawMessage(t.Params)
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	b, err := plainJSON(struct {
		Task   taskInput       `json:"task"`
		Params json.RawMessage `json:"params"`
	}{taskInput{t.ID, t.Project, t.Instance, string(t.Engine), t.Operation, t.AttemptNumber(), t.User.ID, t.User.Name, t.Details}, params})
	if err != nil {
		return nil, worker.Permanent(fmt.Errorf("params: %w", err))
	}
	return b, nil
}

// plainJSON is a line of JSON that leaves <, > and & as they are: a script that
// takes it apart with the tools of a shell should not meet \u0026 in a password.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// pipes connect a program with its job. The first four ends are the program's.
type pipes struct {
	stdin, secrets, stdout, stderr *os.File
	toStdin, toSecrets             *os.File
	fromStdout, fromStderr         *os.File

	input, secret []byte
	writers       sync.WaitGroup
	readers       sync.WaitGroup
	cut           [2]error
}

func newPipes(j *worker.Job) (*pipes, error) {
	p := &pipes{}
	var err error
	if p.input, err = input(j); err != nil {
		return nil, err
	}
	p.secret = []byte("{}\n")
	if len(j.Secrets) > 0 {
		p.secret, _ = plainJSON(j.Secrets) // strings always encode
	}
	for _, ends := range [][2]**os.File{{&p.stdin, &p.toStdin}, {&p.secrets, &p.toSecrets}, {&p.fromStdout, &p.stdout}, {&p.fromStderr, &p.stderr}} {
		if *ends[0], *ends[1], err = os.Pipe(); err != nil {
			p.close()
			return nil, fmt.Errorf("no pipes for the program: %w", err)
		}
	}
	return p, nil
}

// started closes the program's ends here.
func (p *pipes) started() {
	for _, f := range []*os.File{p.stdin, p.secrets, p.stdout, p.stderr} {
		_ = f.Close()
	}
}

// talk begins to write and to read. What it returns is complete after finish.
func (p *pipes) talk(j *worker.Job) (*listener, *lastLine) {
	send := func(f *os.File, b []byte) {
		_, _ = f.Write(b) // a program need not read it
		_ = f.Close()
	}
	p.writers.Go(func() { send(p.toStdin, p.input) })
	p.writers.Go(func() { send(p.toSecrets, p.secret) })
	out, errs := j.Writer(), j.Writer()
	l, last := &listener{job: j, log: out}, &lastLine{}
	p.readers.Go(func() {
		p.cut[0] = l.listen(p.fromStdout)
		_ = out.Close()
	})
	p.readers.Go(func() {
		_, p.cut[1] = io.Copy(io.MultiWriter(errs, last), p.fromStderr)
		last.end()
		_ = errs.Close()
	})
	return l, last
}

// finish ends the conversation with a program that is gone. Its error says that
// somebody still holds the output open.
func (p *pipes) finish() error {
	_ = p.toStdin.SetDeadline(time.Now())
	_ = p.toSecrets.SetDeadline(time.Now())
	p.writers.Wait()
	_ = p.fromStdout.SetReadDeadline(time.Now().Add(drain))
	_ = p.fromStderr.SetReadDeadline(time.Now().Add(drain))
	p.readers.Wait()
	return errors.Join(p.cut[:]...)
}

// close closes whatever is still open.
func (p *pipes) close() {
	for _, f := range []*os.File{p.stdin, p.toStdin, p.secrets, p.toSecrets, p.stdout, p.fromStdout, p.stderr, p.fromStderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}
