package storetest

import (
	"testing"

	"github.com/errandhq/errand/internal/tasks"
)

func TestOracle(t *testing.T) {
	Run(t, func(*testing.T) tasks.Store { return Memory() })
}

func TestOracleQueue(t *testing.T) {
	RunQueue(t, func(*testing.T) Queue { return Memory() })
}
