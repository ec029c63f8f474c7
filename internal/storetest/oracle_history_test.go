package storetest

import "testing"

func TestOracleHistory(t *testing.T) {
	RunHistory(t, func(*testing.T) HistoryStore { return &oracle{} })
}
