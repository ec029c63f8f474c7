package tasks

import (
	"encoding/json"
	"slices"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/mask"
)

// secrets opens what t was submitted with. A task that has ended has none.
func (r *Runs) secrets(t *errand.Task) (map[string]string, error) {
	if t.Run == nil || len(t.Run.Sealed) == 0 {
		return nil, nil
	}
	plain, err := r.sealer.Open(sealedSecrets(t), t.Run.Sealed)
	if err != nil {
		return nil, err
	}
	var secrets map[string]string
	err = json.Unmarshal(plain, &secrets)
	return secrets, err
}

// masker masks the secrets of t. Those that cannot be opened were given to no
// worker, so there is nothing to mask then.
func (r *Runs) masker(t *errand.Task) mask.Masker {
	secrets, err := r.secrets(t)
	if err != nil {
		return mask.Masker{}
	}
	return mask.New(secrets)
}

// maskProgress returns a masked copy of p.
func maskProgress(m mask.Masker, p *errand.Progress) *errand.Progress {
	c := *p
	c.Steps = maskSteps(m, p.Steps)
	return &c
}

func maskSteps(m mask.Masker, steps []errand.Step) []errand.Step {
	steps = slices.Clone(steps)
	for i := range steps {
		s := &steps[i]
		s.Name, s.ErrorCode, s.Detail = m.Text(s.Name), m.Text(s.ErrorCode), m.Text(s.Detail)
		s.Steps = maskSteps(m, s.Steps)
	}
	return steps
}

// maskOutcome masks what o says of t's secrets.
func (r *Runs) maskOutcome(t *errand.Task, o errand.Outcome) errand.Outcome {
	if o.ErrorCode == "" && o.Reason == "" && o.Result == nil {
		return o
	}
	m := r.masker(t)
	o.ErrorCode, o.Reason, o.Result = m.Text(o.ErrorCode), m.Text(o.Reason), m.JSON(o.Result)
	if len(o.Result) > errand.MaxDetailsLen { // encoded anew, it may be longer
		o.Result = json.RawMessage("null")
	}
	return o
}
