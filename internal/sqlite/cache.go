package sqlite

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/errandhq/errand"
)

// cacheBytes bounds what the cache keeps, roughly.
const cacheBytes = 32 << 20

// place says where the tasks of an instance are.
type place struct {
	scope, grp, project int64
}

// entry is a known instance. It never changes.
type entry struct {
	place
	inst errand.Instance
}

type instanceKey struct {
	project, id string
}

// cache keeps instances in memory, because every request looks one up. That is
// safe because nobody else uses the file.
type cache struct {
	mu      sync.RWMutex
	entries map[instanceKey]*entry
	bytes   int

	// forgotten counts the instances that were forgotten since the start. Who
	// reads it before and finds it unchanged after has seen none of them.
	forgotten atomic.Uint64
}

func (c *cache) get(project, id string) *entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[instanceKey{project, id}]
}

// put keeps e, unless an instance was forgotten since the moment before e was
// read: it could be this one.
func (c *cache) put(e *entry, forgotten uint64) {
	k := instanceKey{e.inst.Project, e.inst.ID}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[k] != nil || c.forgotten.Load() != forgotten {
		return
	}
	c.entries[k] = e
	c.bytes += e.size()
	for other := range c.entries { // any one
		if c.bytes <= cacheBytes {
			break
		}
		c.drop(other)
	}
}

// forget is called once the instance is gone from the database, and before the
// first of its tasks goes.
func (c *cache) forget(project, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten.Add(1)
	c.drop(instanceKey{project, id})
}

func (c *cache) drop(k instanceKey) {
	if e := c.entries[k]; e != nil {
		c.bytes -= e.size()
		delete(c.entries, k)
	}
}

func (e *entry) size() int {
	n := 512 + 2*(len(e.inst.Project)+len(e.inst.ID)) + len(e.inst.Name)
	for k, v := range e.inst.Attributes {
		n += 64 + len(k) + len(v)
	}
	return n
}

// copy gives a caller an instance that is its own to change.
func (e *entry) copy() errand.Instance {
	i := e.inst
	i.Attributes = maps.Clone(i.Attributes)
	return i
}
