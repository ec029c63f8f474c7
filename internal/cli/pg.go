package cli

import (
	"context"
	"errors"
	"log/slog"

	"github.com/errandhq/errand/internal/config"
	"github.com/errandhq/errand/internal/tasks"
)

// TEMPORARY until internal/postgres compiles.
func openPostgres(ctx context.Context, c *config.Config, log *slog.Logger) (interface {
	store
	tasks.Cluster
}, error) {
	return nil, errors.New("not yet")
}
