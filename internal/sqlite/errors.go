package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
)

// classify turns what SQLite reports into what callers act on, by result code.
// Errors that are classified already, and those of callers, pass unchanged.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errand.Error](err); ok {
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull:
		return unavailable("the disk that holds the database is full; free some space", err)
	case sqlite.ResultIOErr:
		return unavailable("the disk that holds the database failed; see the log of the server and of its system", err)
	case sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultProtocol:
		return unavailable("another program holds the database locked", err)
	case sqlite.ResultReadOnly, sqlite.ResultPerm, sqlite.ResultCantOpen:
		return unavailable("the database cannot be written: the file or its disk is read-only, or belongs to another user", err)
	case sqlite.ResultNoMem:
		return unavailable("the server is out of memory", err)
	}
	return err
}

// stops reports whether err says that the disk takes no data at the moment.
func stops(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull, sqlite.ResultIOErr, sqlite.ResultReadOnly, sqlite.ResultPerm, sqlite.ResultCantOpen:
		return true
	}
	return false
}

// taken reports whether err is about a key that is in use.
func taken(err error) bool {
	switch sqlite.ErrCode(err) {
	case sqlite.ResultConstraintPrimaryKey, sqlite.ResultConstraintUnique, sqlite.ResultConstraintRowID:
		return true
	}
	return false
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

// cannotOpen explains why the database at path is not used. It is read by the
// operator who started the server, so it names the file and says what to do.
func cannotOpen(path string, err error) error {
	why := "cannot be opened"
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultNotADB:
		why = "is not an SQLite database; name another file, or move this one away to start with an empty database"
	case sqlite.ResultCorrupt:
		why = "is damaged; restore it from a backup"
	case sqlite.ResultReadOnly, sqlite.ResultPerm, sqlite.ResultCantOpen:
		why = "cannot be written; the server needs to read and write the file and its directory"
	case sqlite.ResultFull:
		why = "cannot be used because its disk is full; free some space"
	case sqlite.ResultBusy, sqlite.ResultLocked:
		why = "is locked by another program; close that program"
	case sqlite.ResultIOErr:
		why = "cannot be read; its disk reports errors"
	}
	return fmt.Errorf("database %s %s: %w", path, why, err)
}
