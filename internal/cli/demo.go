package cli

import (
	"context"
	"embed"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/config"
)

// The records of the demo, in the format that `errand import` reads. Those whose
// names begin with "reference" are the examples of the provider's pages; the
// others are made up.
//
//go:embed demo/*.json
var demoRecords embed.FS

// demoText is what the demo prints.
//
//go:embed demo/text.tmpl
var demoText string

// demoInstance is an instance of the demo with the files of its records.
type demoInstance struct {
	errand.Instance
	files []string
}

func demoInstances(project string) []demoInstance {
	of := func(id, name string, e errand.Engine, version string, files ...string) demoInstance {
		return demoInstance{errand.Instance{Project: project, ID: id, Name: name, Engine: e, Attributes: map[string]string{"version": version}}, files}
	}
	return []demoInstance{
		of("b6d2a1f0-3c47-4e8b-9a15-7f04c2d8e361", "kafka-orders", errand.Kafka, "3.7", "reference-kafka-list.json", "reference-kafka-show.json", "kafka.json"),
		of("4f9e07c3-81ad-4b52-b6c0-d35a1e7f9284", "rocketmq-billing", errand.RocketMQ, "5.3", "reference-rocketmq-list.json", "reference-rocketmq-show.json", "rocketmq.json"),
		of("c85d30b7-f216-4a9e-8e4d-06b9a7c1f532", "rabbitmq-mail", errand.RabbitMQ, "3.12", "rabbitmq.json"),
		of("5560df16-cebf-4473-95c4-d1b573c16e79", "redis-sessions", errand.Redis, "6.0", "reference-redis-list.json", "redis.json"),
	}
}

func (a *app) demoCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "demo", Short: "Run a server with sample data in a temporary directory",
		Long: `Run a server with sample data: a project, one instance of each engine, the history
of its tasks, and new ones that are submitted every few seconds and run here.
Everything is in a temporary directory and gone after Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load(cmd)
			if err != nil {
				return err
			}
			dir, err := os.MkdirTemp("", "errand-demo-*")
			if err != nil {
				return err
			}
			return errors.Join(a.demo(cmd.Context(), c, dir), os.RemoveAll(dir))
		}}
	config.AddFlags(cmd.Flags(), "listen", "log-format", "log-level", "stop-timeout")
	return cmd
}

func (a *app) demo(ctx context.Context, c *config.Config, dir string) error {
	c.DB, c.KeyFile, c.MasterKey = "sqlite:"+filepath.Join(dir, "errand.db"), filepath.Join(dir, "errand.key"), ""
	c.Region, c.TLSCert, c.TLSKey = "cn-north-4", "", ""
	operations, err := writeDemoOperations(dir)
	if err != nil {
		return err
	}
	c.Operations, c.WorkDir, c.DrainTimeout = operations, filepath.Join(dir, "work"), 0 // nobody waits for the end of a simulation
	if c.Source("log-level") == "default" {
		c.LogLevel = slog.LevelWarn // the log must not push what is printed off the screen
	}
	n, err := openDemo(ctx, c, newLog(c, a.stderr))
	if err != nil {
		return err
	}
	var first auth.First
	err = n.dir.Bootstrap(ctx, c.Region, func(f auth.First) error { first = f; return nil })
	if err != nil {
		return errors.Join(err, n.close())
	}
	return together(ctx, []func(context.Context) error{n.run, func(ctx context.Context) error {
		return a.visit(ctx, n, c, first)
	}})
}

// visit fills the demo's server, says how to reach it, and goes on to submit
// tasks. It is a client like any other.
func (a *app) visit(ctx context.Context, n *node, c *config.Config, first auth.First) error {
	transport := &http.Transport{} // of its own, whose connections end with it
	defer transport.CloseIdleConnections()
	o := client.Options{Server: n.urls[0], Access: first.Key.Access, Secret: first.Key.Secret, HTTP: &http.Client{Transport: transport}}
	cl, err := client.New(o)
	if err != nil {
		return err
	}
	instances := demoInstances(first.Project.ID)
	records, err := fillDemo(ctx, cl, instances)
	var users []*client.Client
	if err == nil {
		users, err = demoClients(ctx, cl, o, first.Project.ID)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	if err := printDemo(a.stdout, n.urls[0], first, instances, records); err != nil {
		return err
	}
	n.announce(a.stdout, c)
	feed(ctx, users, instances, n.log)
	<-ctx.Done() // the server goes on
	return nil
}

// openDemo opens a node, on a free port if the default one is taken.
func openDemo(ctx context.Context, c *config.Config, log *slog.Logger) (*node, error) {
	n, err := openNode(ctx, c, log)
	if errors.Is(err, syscall.EADDRINUSE) && c.Source("listen") == "default" {
		c.Listen[0].Addr = "127.0.0.1:0"
		n, err = openNode(ctx, c, log)
	}
	return n, err
}

// fillDemo registers the instances, imports their records and returns how many
// there are.
func fillDemo(ctx context.Context, cl *client.Client, instances []demoInstance) (int, error) {
	records := 0
	for _, i := range instances {
		if _, err := cl.Register(ctx, i.Instance); err != nil {
			return 0, err
		}
		in, err := readDemo(i.files)
		if err != nil {
			return 0, err
		}
		done, err := in.send(ctx, cl, i.Project, i.ID)
		if err != nil {
			return 0, err
		}
		day, err := importDay(ctx, cl, i.Instance, time.Now())
		if err != nil {
			return 0, err
		}
		records += done.Added + day
	}
	return records, nil
}

func readDemo(files []string) (*importInput, error) {
	in := &importInput{}
	for _, name := range files {
		b, err := fs.ReadFile(demoRecords, path.Join("demo", name))
		if err != nil {
			return nil, err
		}
		f := importFile{name: name, at: in.body.Len()}
		if err := f.count(b); err != nil {
			return nil, err
		}
		in.files = append(in.files, f)
		in.body.Write(b)
	}
	return in, nil
}

func printDemo(w io.Writer, url string, first auth.First, instances []demoInstance, records int) error {
	t, err := template.New("demo").Parse(demoText)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		program = "errand"
	}
	return t.Execute(w, struct {
		URL       string
		First     auth.First
		Instances []demoInstance
		Records   int
		Errand    string
		Tasks     int
		Pause     time.Duration
	}{url, first, instances, records, program, demoTasks, demoPause})
}
