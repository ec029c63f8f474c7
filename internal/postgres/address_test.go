package postgres

import (
	"strings"
	"testing"
)

// TestAddressWithRawPassword: a character of a password that is not written as
// %40 and so on makes the rest of it a host or a database, which messages name.
func TestAddressWithRawPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://errand:p@ssw0rd@127.0.0.1:5432/errand", "postgres://errand:p@ss/w0rd@127.0.0.1:5432/errand",
		"postgres://errand:p@ss?w0rd@127.0.0.1:5432/errand", "postgres://errand:p/ssw0rd@127.0.0.1/errand", "postgres://errand:p#ssw0rd@h/d",
	} {
		if _, err := parse(url); err == nil || strings.Contains(err.Error(), "w0rd") || !strings.Contains(err.Error(), "%40") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"postgres://errand:p%40ss%2Fw0rd@h1:5432,h2:5433/errand", "postgres:///errand?host=/run/postgresql", "postgres://errand@[::1]:5432/errand"} {
		if _, err := parse(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
