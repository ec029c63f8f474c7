package cli

import (
	"bytes"
	"context"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/records"
)

// demoPast is a task that the demo says has run within the last day.
type demoPast struct {
	operation string
	ago, took time.Duration // since its submission, and until its end
	user      string
	params    string
	status    errand.Status
	reason    string
}

// demoDay is what happened on the demo's instances within a day, the last first:
// the files of the demo are of older times.
func demoDay(e errand.Engine) []demoPast {
	const h, m = time.Hour, time.Minute
	ok, failed, cancelled := errand.Succeeded, errand.Failed, errand.Cancelled
	switch e {
	case errand.Redis:
		return []demoPast{
			{"EXTEND", 100 * m, 48 * m, "terraform", `{"old_capacity":"1","new_capacity":"2"}`, ok, ""},
			{"AddWhitelist", 3*h + 10*m, 4 * m, "ann", `{"enable_whitelist":true}`, ok, ""},
			{"masterStandbySwapJob", 4*h + 30*m, 22 * m, "ops_chen", `{"source_ip":"10.0.3.11","target_ip":"10.0.3.12"}`, ok, ""},
			{"masterStandbySwapJob", 5*h + 20*m, 31 * m, "ops_chen", `{"source_ip":"10.0.3.11","target_ip":"10.0.3.12"}`, failed, "the standby lags too far behind"},
			{"UpdatePort", 8 * h, 12 * m, "ann", `{"old_port":6379,"new_port":6380}`, ok, ""},
			{"AddReplica", 11 * h, 95 * m, "terraform", `{"old_replica_num":1,"new_replica_num":2}`, ok, ""},
			{"BindEip", 14*h + 40*m, 9 * m, "ops_chen", `{"enable_public_ip":true}`, cancelled, "not on this network"},
			{"EXTEND", 19 * h, 2*h + 5*m, "terraform", `{"old_cache_mode":"ha","new_cache_mode":"cluster"}`, ok, ""},
		}
	case errand.Kafka:
		return []demoPast{
			{"kafkaConfigModify", 2 * h, 14 * m, "ann", `{"kafka_configs":[{"name":"log.retention.hours","value":"24"}]}`, ok, ""},
			{"partitionReassignment", 6 * h, 3*h + 10*m, "terraform", "", ok, ""},
			{"restartInstance", 9 * h, 26 * m, "ops_chen", "", ok, ""},
			{"extendInstance", 13 * h, 75 * m, "terraform", `{"oper_type":"storage","new_storage_space":600}`, failed, "the zone has no capacity left"},
		}
	case errand.RocketMQ:
		return []demoPast{
			{"extendInstance", 5 * h, 82 * m, "terraform", `{"oper_type":"horizontal","new_broker_num":3}`, ok, ""},
			{"restartInstance", 12 * h, 18 * m, "ops_chen", "", ok, ""},
		}
	case errand.RabbitMQ:
		return []demoPast{
			{"rabbitmqPluginModify", 3 * h, 16 * m, "ann", `{"enable":true,"plugins":"rabbitmq_shovel"}`, ok, ""},
			{"restartInstance", 16 * h, 34 * m, "ops_chen", "", ok, ""},
		}
	}
	return nil
}

// importDay imports the last day of an instance, and returns how many records it
// has.
func importDay(ctx context.Context, cl *client.Client, i errand.Instance, now time.Time) (int, error) {
	var b bytes.Buffer
	w := records.NewWriter(&b)
	for _, p := range demoDay(i.Engine) {
		at := now.Add(-p.ago)
		id := errand.NewID(at)
		err := w.Write(&errand.Task{
			ID: id, JobID: id, Operation: p.operation, User: errand.User{Name: p.user}, Params: p.params, Status: p.status, Reason: p.reason,
			CreatedAt: at, UpdatedAt: at.Add(p.took),
		})
		if err != nil {
			return 0, err
		}
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	done, err := cl.Import(ctx, i.Project, i.ID, &b)
	return done.Added, err
}
