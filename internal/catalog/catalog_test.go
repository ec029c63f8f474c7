package catalog

import (
	"testing"

	"github.com/errandhq/errand"
)

func TestBuiltin(t *testing.T) {
	type key struct {
		engine errand.Engine
		name   string
	}
	seen := map[key]errand.Operation{}
	for _, o := range Builtin() {
		k := key{o.Engine, o.Name}
		if _, again := seen[k]; again {
			t.Errorf("%v is there twice", k)
		}
		if !o.Engine.Valid() || o.Name == "" || o.Title == "" || o.TitleZH == "" {
			t.Errorf("%+v is not complete", o)
		}
		seen[k] = o
	}
	for _, tt := range []struct {
		key
		hidden bool
	}{
		{key{errand.Kafka, "bindInstancePublicIp"}, false},
		{key{errand.RocketMQ, "bindInstancePublicIp"}, true},
		{key{errand.RabbitMQ, "unbindInstancePublicIp"}, true},
		{key{errand.RabbitMQ, "rabbitmqPluginModify"}, true},
		{key{errand.Redis, "EXTEND"}, false},
	} {
		if got, ok := seen[tt.key]; !ok || got.HideRunning != tt.hidden {
			t.Errorf("%v: known %v, hides running %v; want true, %v", tt.key, ok, got.HideRunning, tt.hidden)
		}
	}
}
