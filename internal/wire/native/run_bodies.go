package native

import (
	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
	"github.com/errandhq/errand/internal/tasks"
)

func whyOf(w tasks.Why) nativejson.Why {
	b := nativejson.Why{
		Code: string(w.Code), Text: w.Text, Until: nativejson.Moment{Time: w.Until}, Ahead: w.Ahead, Remaining: nativejson.Span(w.Remaining),
		Worker: w.Worker, LastSeen: nativejson.Moment{Time: w.LastSeen}, Step: w.Step, StepIndex: w.StepIndex, Steps: w.Steps,
	}
	if w.Behind != nil {
		t := nativejson.TaskOf(w.Behind)
		b.Behind = &t
	}
	return b
}

type workerBody struct {
	Name       string            `json:"name"`
	Operations []string          `json:"operations"`
	Engines    []errand.Engine   `json:"engines,omitempty"`
	Since      nativejson.Moment `json:"since"`
	Seen       nativejson.Moment `json:"seen"`
}

func workerOf(w tasks.Worker) workerBody {
	return workerBody{w.Name, w.Operations, w.Engines, nativejson.Moment{Time: w.Since}, nativejson.Moment{Time: w.Seen}}
}

func grantOf(g tasks.Grant) nativejson.Grant {
	return nativejson.Grant{Token: g.Token, TTL: nativejson.Span(g.TTL), Secrets: g.Secrets, Task: nativejson.TaskOf(g.Task)}
}
