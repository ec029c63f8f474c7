package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// spot is where a task is, as far as its locks depend on it. The lane of a task
// never changes; but a task may end, and its id be used again.
type spot struct {
	place
	live bool
	lane string // "" of tasks that have ended
}

// locks are those who change the task take.
func (at spot) locks(id string) []int64 {
	switch {
	case at.lane != "":
		return []int64{laneLock(at.scope, at.lane)}
	case at.live:
		return []int64{taskLock(at.project, id)}
	}
	return []int64{taskLock(at.project, id), recordsLock(at.project)}
}

// at reports whether a record is where it was when its locks were chosen.
func (r *record) at(s spot) bool { return r.spot() == s }

func (r *record) spot() spot {
	at := spot{place: r.place, live: r.live}
	if r.live {
		at.lane = r.Run.Lane
	}
	return at
}

// maxSpots bounds how many tasks a node remembers the places of: those that it
// had to do with and that have not ended.
const maxSpots = 100_000

type fullID struct{ project, id string }

type spots struct {
	mu    sync.Mutex
	known map[fullID]spot
}

func (s *spots) get(project, id string) (spot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.known[fullID{project, id}]
	return at, ok
}

func (s *spots) put(project, id string, at spot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[fullID]spot)
	}
	for k := range s.known { // any one
		if len(s.known) < maxSpots {
			break
		}
		delete(s.known, k)
	}
	s.known[fullID{project, id}] = at
}

func (s *spots) drop(project, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, fullID{project, id})
}

// note remembers a task that was written, or forgets it if it has ended.
func (s *spots) note(v *saving) {
	if v.r.Status.Final() || v.r.Run == nil {
		s.drop(v.r.Project, v.r.ID)
		return
	}
	s.put(v.r.Project, v.r.ID, v.r.spot())
}

const spotOf = `SELECT t.scope, t.grp, t.project_key, l.id IS NOT NULL, coalesce(l.lane, '')
	FROM scopes p JOIN tasks t ON t.project_key = p.id JOIN instances i ON i.scope = t.scope
	LEFT JOIN live l ON l.project_key = t.project_key AND l.id = t.id
	WHERE p.project = $1 AND p.instance = '' AND p.engine = '' AND t.id = $2`

// find looks where a task is now.
func (s *Store) find(ctx context.Context, project, id string) (spot, error) {
	var at spot
	err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		err := c.QueryRow(ctx, spotOf, project, id).Scan(&at.scope, &at.grp, &at.project, &at.live, &at.lane)
		if errors.Is(err, pgx.ErrNoRows) {
			return noTask(id)
		}
		return err
	})
	return at, err
}

// moves is how often a task is looked for that is not where it was found.
const moves = 10

// atSpot runs what make returns for the place of a task, again as long as it has
// moved meanwhile.
func (s *Store) atSpot(ctx context.Context, project, id string, make func(spot) *op) error {
	at, known := s.spots.get(project, id)
	for range moves {
		if !known {
			var err error
			if at, err = s.find(ctx, project, id); err != nil {
				return err
			}
			if at.live {
				s.spots.put(project, id, at)
			}
		}
		err := s.do(ctx, make(at))
		if !errors.Is(err, errMoved) {
			return err
		}
		s.spots.drop(project, id)
		known = false
	}
	return unavailable("the task is changed by others all the time; try again", nil)
}

// pace lets something happen a few times a second.
type pace struct {
	mu   sync.Mutex
	next time.Time
}

// progressEvery is how often the other nodes are told of progress at the most.
const progressEvery = 500 * time.Millisecond

func (p *pace) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.next) {
		return false
	}
	p.next = now.Add(progressEvery)
	return true
}
