package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"
)

// A waiter is a loop in which the provider's Terraform provider waits for a task.
type waiter struct {
	title     string
	service   service
	operation string
	params    []string // as the command line takes them

	byName  bool     // the newest of that name in the list, instead of the task by its id
	job     bool     // the job of the task
	query   string   // of the list
	pending []string // nothing else is waited for; empty: anything
	failure []string // where anything is waited for
}

var waiters = []waiter{
	{title: "Kafka, by id", service: services[0], operation: "kafkaConfigModify", failure: []string{"FAILED", "DELETED"}},
	{title: "Kafka, by name", service: services[0], operation: "modifyAutoTopic", params: []string{"new_auto_status=true"}, byName: true, query: "limit=100", failure: []string{"FAILED", "DELETED"}},
	{title: "RocketMQ, by id", service: services[1], operation: "switchSsl", failure: []string{"FAILED"}},
	{title: "RocketMQ, public access: CREATED alone is waited for", service: services[1], operation: "unbindInstancePublicIp", byName: true, pending: []string{"CREATED"}},
	{title: "RabbitMQ, public access: CREATED alone is waited for", service: services[2], operation: "bindInstancePublicIp", byName: true, pending: []string{"CREATED"}},
	{title: "RabbitMQ, plug-ins: CREATED alone is waited for", service: services[2], operation: "rabbitmqPluginModify", params: []string{"enable=true", "plugins=x"}, pending: []string{"CREATED"}},
	{title: "DCS, deletion of an account: EXECUTING alone is waited for", service: services[3], operation: "DeleteAcl", params: []string{"account_name=app"}, byName: true, pending: []string{"EXECUTING"}},
	{title: "DCS, job", service: services[3], operation: "masterStandbySwapJob", job: true, failure: []string{"FAIL"}},
}

// wait submits the waiter's operation once so that it succeeds and once so that
// it fails, and waits for each as Terraform does, only more often.
func (tf *terraform) wait(t *testing.T, w waiter) {
	owner := tf.srv.as(tf.w)
	for _, c := range []struct {
		note, want string
	}{{"note=well", "SUCCESS"}, {"note=please-fail", "FAILED"}} {
		instance := uuid("Terraform", w.title, c.note)
		owner.add(t, w.service, "waiter", instance)
		more := []string{"--param", c.note}
		for _, p := range w.params {
			more = append(more, "--param", p)
		}
		task, err := owner.submit(t.Context(), w.operation, instance, more...)
		if err != nil {
			t.Fatal(err)
		}
		if w.job && c.want == "FAILED" {
			c.want = "FAIL"
		}
		if got := tf.waitFor(t, w, instance, task.ID); got != c.want {
			t.Errorf("%s: the loop ended with %q, want %q", c.note, got, c.want)
		}
	}
}

// waitFor is the loop. It returns the word that ended it.
func (tf *terraform) waitFor(t *testing.T, w waiter, instance, id string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		word := tf.word(t, w, instance, id)
		switch {
		case word == "SUCCESS", slices.Contains(w.failure, word), len(w.pending) > 0 && !slices.Contains(w.pending, word):
			return word
		}
	}
	t.Fatal("the loop does not end")
	return ""
}

// word asks for the status once.
func (tf *terraform) word(t *testing.T, w waiter, instance, id string) string {
	t.Helper()
	if w.job {
		_, answer := tf.do(t, "GET", tf.srv.dcs+"/v2/"+tf.w.project+"/jobs/"+id, nil, http.StatusOK)
		return fmt.Sprint(answer["status"])
	}
	if !w.byName {
		_, answer := tf.do(t, "GET", tf.srv.dms+"/v2/"+tf.w.project+"/instances/"+instance+"/tasks/"+id, nil, http.StatusOK)
		return fmt.Sprint(answer["tasks"].([]any)[0].(map[string]any)["status"])
	}
	query, err := url.ParseQuery(w.query)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range tf.get(t, w.service, instance, query)["tasks"].([]any) {
		if task := v.(map[string]any); task["name"] == w.operation {
			return fmt.Sprint(task["status"])
		}
	}
	return "" // the name is missing
}

// scheduled moves one task that is to run tomorrow to this moment, and cancels
// another.
func (tf *terraform) scheduled(t *testing.T) {
	w := waiters[0]
	instance := uuid("Terraform", "scheduled")
	owner := tf.srv.as(tf.w)
	owner.add(t, w.service, "scheduled", instance)
	for query, want := range map[string]string{
		"execute_at=" + time.Now().UTC().Format("20060102150405"): "SUCCESS",
		"status=CANCELLED": "CANCELLED",
	} {
		task, err := owner.submit(t.Context(), w.operation, instance, "--run-at", "24h")
		if err != nil {
			t.Fatal(err)
		}
		if got := tf.word(t, w, instance, task.ID); got != "CREATED" {
			t.Errorf("before its time it is %q", got)
		}
		path := "/v2/" + tf.w.project + "/instances/" + instance + "/scheduled-tasks/" + task.ID
		tf.do(t, "PUT", tf.srv.dms+path+"?"+query, nil, http.StatusNoContent)
		w.failure = []string{"FAILED", "CANCELLED"}
		if got := tf.waitFor(t, w, instance, task.ID); got != want {
			t.Errorf("%s: the loop ended with %q, want %q", query, got, want)
		}
	}
}
