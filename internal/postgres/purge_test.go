package postgres

import (
	"testing"

	"github.com/errandhq/errand/internal/storetest"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	storetest.RunHistory(t, func(t *testing.T) storetest.HistoryStore {
		s := openNew(t)
		t.Cleanup(func() {
			checkCounts(t, s)
			checkLive(t, s)
		})
		return s
	})
}
