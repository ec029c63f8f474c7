package tasks

import (
	"context"
	"time"

	"github.com/errandhq/errand"
)

// Register adds an instance to its project and returns it as stored. Errors:
// Invalid about a member, Conflict about "instance" if the id is taken.
func (s *Service) Register(ctx context.Context, p errand.Principal, i errand.Instance) (errand.Instance, error) {
	if err := authorize(p, i.Project, errand.Operator); err != nil {
		return errand.Instance{}, err
	}
	if err := i.Validate(); err != nil {
		return errand.Instance{}, err
	}
	i.CreatedAt = s.Now().UTC().Truncate(time.Microsecond)
	return i, s.Store.AddInstance(ctx, i)
}

// Instance returns one instance, or NotFound about "instance".
func (s *Service) Instance(ctx context.Context, p errand.Principal, project, id string) (errand.Instance, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return errand.Instance{}, err
	}
	if !errand.ValidInstanceID(id) {
		return errand.Instance{}, badInstanceID(id)
	}
	return s.Store.Instance(ctx, project, id)
}

// Instances returns one page of a project's instances by id, with the total.
func (s *Service) Instances(ctx context.Context, p errand.Principal, project string, offset, limit int) ([]errand.Instance, int, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return nil, 0, err
	}
	if limit < 1 || limit > MaxLimit {
		return nil, 0, errand.Errorf(errand.Invalid, "limit", "limit must be 1 to %d, not %d", MaxLimit, limit)
	}
	if offset < 0 {
		return nil, 0, errand.Errorf(errand.Invalid, "offset", "offset must not be negative")
	}
	return s.Store.Instances(ctx, project, offset, limit)
}

// Forget removes an instance with all its records; their events stay. It takes
// an admin, because nothing brings the records back.
func (s *Service) Forget(ctx context.Context, p errand.Principal, project, id string) error {
	if err := authorize(p, project, errand.Admin); err != nil {
		return err
	}
	if !errand.ValidInstanceID(id) {
		return badInstanceID(id)
	}
	err := s.Store.DeleteInstance(ctx, project, id)
	if err == nil {
		s.changed()
	}
	return err
}
