package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// shortPiece is the length below which a piece of a log is written again with
// what follows: workers send lines one by one.
const shortPiece = 2048

// AppendLog implements tasks.Queue.
func (s *Store) AppendLog(ctx context.Context, project, id string, text []byte, limit int64) (truncated bool, err error) {
	err = s.atSpot(ctx, project, id, func(at spot) *op {
		k := taskKey{at.project, id}
		return &op{
			scopes: []int64{at.scope}, keys: at.locks(id), alone: !at.live, weight: weigh(len(text)),
			needs: func(n *needs) { n.logs = append(n.logs, k) },
			decide: func(f *flow) error {
				end := f.logs[k]
				switch {
				case end == nil:
					return noTask(id)
				case spot{end.place, end.live, end.lane} != at:
					return errMoved
				}
				keep := text
				room := max(0, limit-end.at-end.size)
				if truncated = int64(len(keep)) > room; truncated {
					keep = keep[:room]
				}
				if len(keep) == 0 {
					return nil
				}
				start := end.at + end.size
				if end.text != nil {
					start, keep = end.at, append(end.text, keep...)
				}
				r := &f.pieces
				r.keys, r.at, r.text = append(r.keys, k), append(r.at, start), append(r.text, keep)
				return nil
			},
		}
	})
	return truncated, err
}

const (
	logOf = `SELECT t.project_key, coalesce((SELECT at + length(text) FROM task_log WHERE project_key = t.project_key AND id = t.id ORDER BY at DESC LIMIT 1), 0)
		FROM scopes p JOIN tasks t ON t.project_key = p.id JOIN instances i ON i.scope = t.scope
		WHERE p.project = $1 AND p.instance = '' AND p.engine = '' AND t.id = $2`
	logPieces = `SELECT at, text FROM task_log WHERE project_key = $1 AND id = $2 AND at < $4
		AND at >= coalesce((SELECT at FROM task_log WHERE project_key = $1 AND id = $2 AND at <= $3 ORDER BY at DESC LIMIT 1), 0) ORDER BY at`
)

// Log implements tasks.Queue.
func (s *Store) Log(ctx context.Context, project, id string, offset int64, limit int) (text []byte, size int64, err error) {
	err = s.snapshot(ctx, func(ctx context.Context, t pgx.Tx) error {
		text = nil
		var key int64
		err := t.QueryRow(ctx, logOf, project, id).Scan(&key, &size)
		if errors.Is(err, pgx.ErrNoRows) {
			return noTask(id)
		}
		if err != nil || offset >= size {
			return err
		}
		rows, err := t.Query(ctx, logPieces, key, id, offset, offset+int64(limit))
		if err != nil {
			return err
		}
		var at int64
		var piece []byte
		_, err = pgx.ForEachRow(rows, []any{&at, &piece}, func() error {
			if from := offset - at; from > 0 {
				piece = piece[min(from, int64(len(piece))):]
			}
			text = append(text, piece[:min(len(piece), limit-len(text))]...)
			return nil
		})
		return err
	})
	return text, size, err
}
