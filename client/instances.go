package client

import (
	"context"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/nativejson"
)

// Register adds an instance to the project i.Project and returns it as stored.
// Errors: Invalid about a member, Conflict about "instance" if the id is taken.
func (c *Client) Register(ctx context.Context, i errand.Instance) (errand.Instance, error) {
	in := struct {
		ID         string            `json:"id"`
		Name       string            `json:"name"`
		Engine     errand.Engine     `json:"engine"`
		Attributes map[string]string `json:"attributes,omitempty"`
	}{i.ID, i.Name, i.Engine, i.Attributes}
	var out nativejson.Instance
	err := c.post(ctx, in, &out, "projects", i.Project, "instances")
	return out.Instance(), err
}

// Instances returns one page of a project's instances by id, with the total. A
// limit of 0 stands for the server's default.
func (c *Client) Instances(ctx context.Context, project string, offset, limit int) ([]errand.Instance, int, error) {
	var body struct {
		Total     int                   `json:"total"`
		Instances []nativejson.Instance `json:"instances"`
	}
	if err := c.get(ctx, &body, paging(offset, limit), "projects", project, "instances"); err != nil {
		return nil, 0, err
	}
	list := make([]errand.Instance, 0, len(body.Instances))
	for _, i := range body.Instances {
		list = append(list, i.Instance())
	}
	return list, body.Total, nil
}

// Instance returns one instance, or NotFound about "instance".
func (c *Client) Instance(ctx context.Context, project, id string) (errand.Instance, error) {
	var out nativejson.Instance
	err := c.get(ctx, &out, nil, "projects", project, "instances", id)
	return out.Instance(), err
}

// Forget removes an instance with all its records. Nothing brings them back.
// Errors: NotFound about "instance".
func (c *Client) Forget(ctx context.Context, project, id string) error {
	return c.delete(ctx, "projects", project, "instances", id)
}
