// Package upkeep looks after databases while no task is in hand: it copies one
// into another, row by row and verified, and it finds what is wrong with one and
// mends what is safe to mend. It knows the tables that all stores share, and no
// store.
package upkeep

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
)

// Type is what a column holds. A value is an int64, a string or a []byte, or nil
// for NULL.
type Type uint8

// The types of columns.
const (
	Int Type = iota + 1
	Text
	Bytes
)

func (t Type) String() string {
	switch t {
	case Int:
		return "an integer"
	case Text:
		return "text"
	case Bytes:
		return "bytes"
	}
	return "a value of an unknown type"
}

// Column is one column of a table.
type Column struct {
	Name string
	Type Type
	Null bool // may be NULL
}

// Table says how the rows of a table look, the same for every kind of store.
type Table struct {
	Name    string
	Columns []Column // by name
	Key     []int    // the columns of the primary key, in its order
}

// KeyOf returns the key of a row.
func (t Table) KeyOf(row []any) []any {
	key := make([]any, len(t.Key))
	for i, c := range t.Key {
		key[i] = row[c]
	}
	return key
}

// Names returns the names of columns, of all or of those with the given places.
func (t Table) Names(places ...int) []string {
	var names []string
	for i, c := range t.Columns {
		if len(places) == 0 || slices.Contains(places, i) {
			names = append(names, c.Name)
		}
	}
	if len(places) > 0 {
		slices.SortFunc(names, func(a, b string) int { return slices.Index(places, t.column(a)) - slices.Index(places, t.column(b)) })
	}
	return names
}

func (t Table) column(name string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
}

// KeyText writes the key of a row for people.
func (t Table) KeyText(row []any) string {
	var parts []string
	for _, c := range t.Key {
		parts = append(parts, t.Columns[c].Name+" "+show(row[c]))
	}
	return strings.Join(parts, ", ")
}

func show(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		return fmt.Sprintf("%.80q", v)
	case []byte:
		return fmt.Sprintf("%.40x", v)
	}
	return "NULL"
}

// A Reader reads the rows of a database.
type Reader interface {
	// Name is how the database is called to its users, without secrets.
	Name() string

	// Tables returns the tables whose rows make up the database, by name.
	Tables(ctx context.Context) ([]Table, error)

	// Scan calls row for each row of t in the order of its key, from the one
	// after the key after on, or from the first if that is nil. A row is row's to
	// keep. An error of row ends the scan and is returned as it is.
	Scan(ctx context.Context, t Table, after []any, row func([]any) error) error

	// Numbers returns the greatest number that was ever given out for each column
	// that is numbered, as "table.column".
	Numbers(ctx context.Context) (map[string]int64, error)
}

// A Target is a database that rows are written to.
type Target interface {
	Reader

	// Keeps returns why the database cannot keep v, or "".
	Keeps(v any) string

	// Copying returns what Begin was given, or "" if no copy is under way.
	Copying(ctx context.Context) (source string, err error)

	// Begin notes that a copy of source is under way: nothing but a copy may
	// open the database until Finish.
	Begin(ctx context.Context, source string) error

	// Write adds rows to t in one transaction, which need not be durable.
	Write(ctx context.Context, t Table, rows [][]any) error

	// Clear removes the rows of t.
	Clear(ctx context.Context, t Table) error

	// Finish sees to it that no number up to the given ones is given out again,
	// ends what Begin began, and makes everything durable.
	Finish(ctx context.Context, numbers map[string]int64) error
}

// Sum says what is in a table: how many rows, and the SHA-256 of all of them in
// the order of their keys, each value with its type and length, so that the same
// rows have the same sum in every kind of store.
type Sum struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"`
}

// summer makes a Sum of the rows that it is given.
type summer struct {
	h    hash.Hash
	buf  []byte
	rows int64
}

func newSummer(t Table) *summer {
	s := &summer{h: sha256.New()}
	for _, c := range t.Columns {
		s.buf = appendBytes(s.buf, byte(c.Type), []byte(c.Name))
	}
	s.h.Write(s.buf)
	return s
}

func (s *summer) add(row []any) {
	s.buf = s.buf[:0]
	for _, v := range row {
		switch v := v.(type) {
		case int64:
			s.buf = binary.BigEndian.AppendUint64(append(s.buf, byte(Int)), uint64(v))
		case string:
			s.buf = append(s.buf, byte(Text))
			s.buf = append(binary.AppendUvarint(s.buf, uint64(len(v))), v...)
		case []byte:
			s.buf = appendBytes(s.buf, byte(Bytes), v)
		default:
			s.buf = append(s.buf, 0)
		}
	}
	s.h.Write(s.buf)
	s.rows++
}

func appendBytes(to []byte, kind byte, b []byte) []byte {
	return append(binary.AppendUvarint(append(to, kind), uint64(len(b))), b...)
}

// sum is that of the rows so far; more may follow.
func (s *summer) sum(t Table) Sum {
	return Sum{Table: t.Name, Rows: s.rows, SHA256: hex.EncodeToString(s.h.Sum(nil))}
}

// sizeOf is about how much memory a row takes.
func sizeOf(row []any) int {
	n := 0
	for _, v := range row {
		n += 16
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}
