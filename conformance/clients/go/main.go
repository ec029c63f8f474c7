// Command client makes the calls of a script with the provider's Go SDK and
// writes down what the SDK returned. It judges nothing: the harness does. It
// finds calls by name, so that one source serves every release of the SDK; the
// *.mod files beside it choose the release.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	dcs "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/dcs/v2"
	kafka "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kafka/v2"
	rabbitmq "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/rabbitmq/v2"
	rocketmq "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/rocketmq/v2"
)

// call is one line of the script.
type call struct {
	ID       string
	Service  string
	Method   string
	Args     map[string]any    // by wire name
	Skip     *int              // how many tasks to pass over, as start or as offset
	Headers  map[string]string // added to the request before it is signed
	Endpoint string

	AK, SK, Token, Project string
	Region, IAM            string // set where the SDK must look the project up

	Back  int    // begin again this many calls earlier, after a pause, until the file is there
	Until string // and then once more
	Pause int    // in milliseconds
}

// seen is what came of a call.
type seen struct {
	ID     string  `json:"id"`
	Absent string  `json:"absent,omitempty"` // why this release cannot make the call
	Status int     `json:"status,omitempty"`
	Result any     `json:"result,omitempty"`
	Error  *failed `json:"error,omitempty"`
	Crash  string  `json:"crash,omitempty"`
}

type failed struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Request string `json:"request_id"`
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(script, results string) error {
	data, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	var calls []call
	if err := json.Unmarshal(data, &calls); err != nil {
		return err
	}
	out, err := os.Create(results)
	if err != nil {
		return err
	}
	defer out.Close()
	last := false
	for i := 0; i < len(calls); i++ {
		c := calls[i]
		if err := json.NewEncoder(out).Encode(attempt(c)); err != nil {
			return err
		}
		if c.Back > 0 && !last {
			_, err := os.Stat(c.Until)
			last = err == nil
			time.Sleep(time.Duration(c.Pause) * time.Millisecond)
			i -= c.Back + 1
		}
	}
	return nil
}

// attempt makes one call. Several releases panic where they cannot build a client.
func attempt(c call) (s seen) {
	defer func() {
		if p := recover(); p != nil {
			s = seen{ID: c.ID, Crash: fmt.Sprint(p)}
		}
	}()
	s.ID = c.ID
	client := reflect.ValueOf(connect(c))
	name := c.Method
	if c.Headers != nil {
		name += "Invoker"
	}
	m := client.MethodByName(name)
	if !m.IsValid() {
		s.Absent = "no " + c.Method
		return s
	}
	request := reflect.New(m.Type().In(0).Elem())
	if err := fill(request.Interface(), c); err != nil {
		s.Absent = err.Error()
		return s
	}
	result := m.Call([]reflect.Value{request})
	if c.Headers != nil {
		result[0].MethodByName("AddHeader").Call([]reflect.Value{reflect.ValueOf(c.Headers)})
		result = result[0].MethodByName("Invoke").Call(nil)
	}
	if err, _ := result[1].Interface().(error); err != nil {
		s.fail(err)
		return s
	}
	s.Result = result[0].Interface()
	s.Status = int(result[0].Elem().FieldByName("HttpStatusCode").Int())
	return s
}

func (s *seen) fail(err error) {
	var e *sdkerr.ServiceResponseError
	if !errors.As(err, &e) {
		s.Crash = err.Error()
		return
	}
	s.Error = &failed{e.StatusCode, e.ErrorCode, e.ErrorMessage, e.RequestId}
}

// connect builds a client as the SDK's own documentation shows it.
func connect(c call) any {
	b := basic.NewCredentialsBuilder().WithAk(c.AK).WithSk(c.SK).WithProjectId(c.Project)
	if c.Token != "" {
		b = b.WithSecurityToken(c.Token)
	}
	if c.IAM != "" {
		b = b.WithIamEndpointOverride(c.IAM)
	}
	over := func(h *core.HcHttpClientBuilder) *core.HcHttpClient {
		if c.Region != "" {
			h = h.WithRegion(region.NewRegion(c.Region, c.Endpoint))
		} else {
			h = h.WithEndpoint(c.Endpoint)
		}
		return h.WithCredential(b.Build()).Build()
	}
	switch c.Service {
	case "kafka":
		return kafka.NewKafkaClient(over(kafka.KafkaClientBuilder()))
	case "rocketmq":
		return rocketmq.NewRocketMQClient(over(rocketmq.RocketMQClientBuilder()))
	case "rabbitmq":
		return rabbitmq.NewRabbitMQClient(over(rabbitmq.RabbitMQClientBuilder()))
	default:
		return dcs.NewDcsClient(over(dcs.DcsClientBuilder()))
	}
}

// fill sets the members of a request by their wire names.
func fill(request any, c call) error {
	args := map[string]any{}
	for k, v := range c.Args {
		args[k] = v
	}
	if c.Skip != nil {
		if has(request, "start") {
			args["start"] = *c.Skip + 1
		} else {
			args["offset"] = *c.Skip
		}
	}
	for name := range args {
		if !has(request, name) {
			return fmt.Errorf("no parameter %s in %s", name, c.Method)
		}
	}
	data, err := json.Marshal(args)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, request)
}

func has(request any, name string) bool {
	t := reflect.TypeOf(request).Elem()
	for i := 0; i < t.NumField(); i++ {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if tag == name {
			return true
		}
	}
	return false
}
