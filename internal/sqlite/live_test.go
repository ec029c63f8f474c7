package sqlite

import (
	"testing"

	"github.com/errandhq/errand/internal/storetest"
)

func TestQueue(t *testing.T) {
	t.Parallel()
	storetest.RunQueue(t, func(t *testing.T) storetest.Queue {
		s := openNew(t)
		t.Cleanup(func() { checkCounts(t, s) })
		return s
	})
}
