package postgres

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/errandhq/errand"
)

// What the database reports, by SQLSTATE
// (https://www.postgresql.org/docs/current/errcodes-appendix.html), as those who
// call the server are told.
var reports = map[string]string{
	"08P01": "the database or its pooler refused the connection's settings",
	"25006": "the database takes no writes at the moment: it is a standby, or was set to read-only",
	"25P03": "the database ended a transaction that took too long",
	"26000": poolerHint,
	"28000": "the database refused the server's user; see the log of the server",
	"28P01": "the database refused the server's password; see the log of the server",
	"3D000": "the database does not exist any more; see the log of the server",
	"3F000": "the schema does not exist any more; see the log of the server",
	"40001": "the database could not do this beside other changes; try again",
	"40P01": "the database could not do this beside other changes; try again",
	"42501": "the server's user lacks rights in the database; see the log of the server",
	"42703": schemaHint,
	"42P01": schemaHint,
	"42P05": poolerHint,
	"53000": "the database lacks resources; try again",
	"53100": "the disk that holds the database is full; free some space",
	"53200": "the database is out of memory",
	"53300": "the database has no connection left for the server; raise max_connections or the limit of the user or the database, or lower what others use",
	"53400": "the database has reached a limit that is set for it",
	"55P03": "the database was busy with other changes for too long; try again",
	"55000": "the database is not ready for this; try again",
	"57014": "the database took too long and was stopped; try again",
	"57P01": "the database is shutting down or starting; try again",
	"57P02": "the database is shutting down or starting; try again",
	"57P03": "the database is shutting down or starting; try again",
	"57P05": "the database ended a connection that was idle; try again",
	"58000": "the system that the database runs on failed; see its log",
	"58030": "the disk that holds the database failed; see the log of the database and of its system",
}

// schemaHint is for a schema that somebody else has changed.
const schemaHint = "the schema is not as the server made it: something is missing; errand doctor says what"

// poolerHint is for connections that a pooler hands from transaction to
// transaction without saying so.
const poolerHint = "the database is behind a pooler that loses prepared statements; add default_query_exec_mode=cache_describe to its address"

// classify turns what the database and its connections report into what callers
// act on, by code and by type. Errors that are classified already, and those of
// callers, pass unchanged.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errand.Error](err); ok {
		return err
	}
	if c := code(err); c != "" {
		switch msg, ok := reports[c]; {
		case ok:
			return unavailable(msg, err)
		case c[:2] == "08":
			return unavailable("the connection to the database was lost; try again", err)
		case c == "22021", c == "22P05":
			return errand.Errorf(errand.Invalid, "text", "a text holds a NUL character or is not UTF-8, which cannot be kept").WithCause(err)
		}
		return err
	}
	switch {
	case errors.Is(err, puddle.ErrClosedPool):
		return closing()
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return unavailable(reports["25006"], err)
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return unavailable("the database did not answer in time; try again", err)
	case lost(err):
		return unavailable("the database cannot be reached; try again", err)
	}
	return err
}

// code is the SQLSTATE of err, or "".
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && len(e.Code) == 5 {
		return e.Code
	}
	return ""
}

// lost reports whether err says that there is no connection any more, or none
// was made: what was asked for has not been answered, and another connection may
// do better.
func lost(err error) bool {
	switch c := code(err); {
	case c != "":
		return c[:2] == "08" || c == "57P01" || c == "57P02" || c == "57P05"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, pgconn.ErrConnClosed):
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// taken reports whether err is about a key of constraint that is in use; "" is
// any.
func taken(err error, constraint string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505" && (constraint == "" || e.ConstraintName == constraint)
}

func unavailable(msg string, cause error) error {
	return errand.Errorf(errand.Unavailable, "store", "%s", msg).WithCause(cause)
}

func closing() error {
	return unavailable("the server is shutting down", nil)
}

// tooLate is for callers whose context ended before the store did anything.
func tooLate(cause error) error {
	return unavailable("the request ended before the store took it", cause)
}

func noTask(id string) error {
	return errand.Errorf(errand.NotFound, "task", "task %s does not exist", id)
}

func noInstance(id string) error {
	return errand.Errorf(errand.NotFound, "instance", "instance %s does not exist", id)
}
