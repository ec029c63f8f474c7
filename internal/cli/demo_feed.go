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
func feed(ctx context.Context, cl *client.Client, instances []demoInstance, log *slog.Logger) {
	of := map[errand.Engine]demoInstance{}
	for _, i := range instances {
		of[i.Engine] = i
	}
	plan := demoPlan()
	for n := range demoTasks {
		t := plan[n%len(plan)]
		i := of[t.engine]
		_, err := cl.Submit(ctx, i.Project, i.ID, client.Submission{
			Operation: t.operation, Params: json.RawMessage(t.params), Key: errand.NewID(time.Now()),
		})
		if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			log.Warn("the demo could not submit a task", "operation", t.operation, "error", err)
		}
		pause := time.NewTimer(demoPause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}
