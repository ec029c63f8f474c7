package cli

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
)

// The operations that the demo runs.
//
//go:embed demo/operations.d
var demoOperations embed.FS

// How many tasks the demo submits by itself, and how long it waits between two.
// Then it is quiet: one that somebody has forgotten must not fill a disk.
const (
	demoTasks = 200
	demoPause = 7 * time.Second
)

// demoTask is what the demo submits on its instance of an engine.
type demoTask struct {
	engine    errand.Engine
	operation string
	params    string
}

// demoPlan is what the demo submits, over and over.
func demoPlan() []demoTask {
	return []demoTask{
		{errand.Redis, "EXTEND", `{"old_capacity":"4","new_capacity":"8"}`},
		{errand.Kafka, "kafkaConfigModify", `{"kafka_configs":[{"name":"log.retention.hours","value":"72"}]}`},
		{errand.RocketMQ, "bindInstancePublicIp", `{"enable_public_ip":true,"public_ip_address":"203.0.113.7"}`},
		{errand.Kafka, "reportTopics", `{"prefix":"orders"}`},
		{errand.RabbitMQ, "rabbitmqPluginModify", `{"enable":true,"plugins":"rabbitmq_shovel"}`},
	}
}

// demoUsers are who submits in the demo, beside its admin.
func demoUsers() []string { return []string{"ann", "ops_chen", "terraform"} }

// demoOpening is what the demo submits at once, so that there is something to see
// from the first moment: a queue, a task that no worker serves, and one for later.
func demoOpening() []demoTask {
	return []demoTask{
		{errand.Redis, "failOver", `{"reason":"the zone is drained tonight"}`},
		{errand.Redis, "EXTEND", `{"old_capacity":"2","new_capacity":"4"}`},
		{errand.RocketMQ, "bindInstancePublicIp", `{"enable_public_ip":true,"public_ip_address":"203.0.113.7"}`},
		{errand.Kafka, "kafkaConfigModify", `{"kafka_configs":[{"name":"log.retention.hours","value":"48"}]}`},
		{errand.Kafka, "kafkaConfigModify", `{"kafka_configs":[{"name":"max.message.bytes","value":"2097152"}]}`},
		{errand.RabbitMQ, "rabbitmqPluginModify", `{"enable":true,"plugins":"rabbitmq_federation"}`},
		{errand.Kafka, "reportTopics", `{"prefix":"payments"}`},
	}
}

// demoLater is how long after its start the demo's last task is to run.
const demoLater = 9 * time.Hour

// open submits the opening, each by another user.
func open(ctx context.Context, cl []*client.Client, of map[errand.Engine]demoInstance, log *slog.Logger) {
	for n, t := range demoOpening() {
		put(ctx, cl[n%len(cl)], of[t.engine], client.Submission{Operation: t.operation, Params: json.RawMessage(t.params)}, log)
	}
	put(ctx, cl[0], of[errand.RabbitMQ], client.Submission{Operation: "restartInstance", RunAt: time.Now().Add(demoLater)}, log)
}

// put submits one task.
func put(ctx context.Context, cl *client.Client, i demoInstance, s client.Submission, log *slog.Logger) {
	s.Key = errand.NewID(time.Now())
	if _, err := cl.Submit(ctx, i.Project, i.ID, s); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		log.Warn("the demo could not submit a task", "operation", s.Operation, "error", err)
	}
}

// demoClients returns a client for each of the demo's users, which it makes.
func demoClients(ctx context.Context, admin *client.Client, o client.Options, project string) ([]*client.Client, error) {
	var all []*client.Client
	for _, name := range demoUsers() {
		n := client.NewUser{Name: name, Roles: map[string]errand.Role{project: errand.Operator}}
		if _, err := admin.AddUser(ctx, n); err != nil {
			return nil, err
		}
		k, err := admin.AddKey(ctx, client.NewKey{User: name, Project: project, Note: "demo"})
		if err != nil {
			return nil, err
		}
		o.Access, o.Secret = k.Access, k.Secret
		cl, err := client.New(o)
		if err != nil {
			return nil, err
		}
		all = append(all, cl)
	}
	return all, nil
}

// writeDemoOperations puts the demo's declarations where a server can load them.
func writeDemoOperations(dir string) (string, error) {
	const root = "demo/operations.d"
	to := filepath.Join(dir, "operations.d")
	err := fs.WalkDir(demoOperations, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := demoOperations.ReadFile(name)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if filepath.Ext(name) == "" { // a script
			mode = 0o700
		}
		return os.WriteFile(filepath.Join(to, rel), b, mode)
	})
	return to, err
}

// feed submits tasks from time to time, like anybody would.
func feed(ctx context.Context, cl []*client.Client, instances []demoInstance, log *slog.Logger) {
	of := map[errand.Engine]demoInstance{}
	for _, i := range instances {
		of[i.Engine] = i
	}
	open(ctx, cl, of, log)
	plan := demoPlan()
	for n := range demoTasks {
		pause := time.NewTimer(demoPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		t := plan[n%len(plan)]
		put(ctx, cl[n%len(cl)], of[t.engine], client.Submission{Operation: t.operation, Params: json.RawMessage(t.params)}, log)
	}
}
