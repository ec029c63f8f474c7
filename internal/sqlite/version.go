package sqlite

import (
	"sync/atomic"

	"github.com/errandhq/errand/internal/tasks"
)

// stripes is how many counters the scopes share. Two that share one only make
// each other's pages look older than they are.
const stripes = 4096

// versions counts the changes of each scope's tasks. A counter is odd from the
// moment before a change can be seen to the moment after: what is read then may
// be of before or of after.
type versions struct {
	counters [stripes]atomic.Uint64
	changing []*atomic.Uint64 // by the group that is being committed
}

func (v *versions) of(scope int64) *atomic.Uint64 { return &v.counters[uint64(scope)%stripes] }

// begin is called by the writer before a commit that changes tasks of scope, and
// end after it, however it ended.
func (v *versions) begin(scope int64) {
	if c := v.of(scope); c.Load()%2 == 0 {
		c.Add(1)
		v.changing = append(v.changing, c)
	}
}

func (v *versions) end() {
	for _, c := range v.changing {
		c.Add(1)
	}
	v.changing = v.changing[:0]
}

var _ tasks.Versioner = (*Store)(nil)

// Version implements tasks.Versioner.
func (s *Store) Version(project, instance string) tasks.Version {
	e := s.cache.get(project, instance)
	if e == nil {
		return tasks.Version{}
	}
	n := s.versions.of(e.scope).Load()
	if n%2 != 0 {
		return tasks.Version{}
	}
	return tasks.Version{uint64(e.scope), n + 1}
}
