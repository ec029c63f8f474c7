package auth_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// memStore is a Store in memory, until there is one on disk.
type memStore struct {
	mu       sync.Mutex
	projects map[string]auth.Project
	users    map[string]auth.User
	keys     map[string]auth.Key
	tokens   []auth.Token
	checks   map[string][]byte
}

func newMemStore() *memStore {
	return &memStore{projects: map[string]auth.Project{}, users: map[string]auth.User{}, keys: map[string]auth.Key{}, checks: map[string][]byte{}}
}

func (m *memStore) AddProject(_ context.Context, p auth.Project) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range m.projects {
		if q.ID == p.ID || q.Name == p.Name {
			return errand.Errorf(errand.Conflict, "project", "taken")
		}
	}
	m.projects[p.ID] = p
	return nil
}

func (m *memStore) Projects(context.Context) ([]auth.Project, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.projects), func(a, b auth.Project) int { return strings.Compare(a.Name, b.Name) }), nil
}

func (m *memStore) AddUser(_ context.Context, u auth.User) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range m.users {
		if q.ID == u.ID || q.Name == u.Name {
			return errand.Errorf(errand.Conflict, "user", "taken")
		}
	}
	m.users[u.ID] = clone(u)
	return nil
}

func clone(u auth.User) auth.User { u.Roles = maps.Clone(u.Roles); return u }

func (m *memStore) Users(context.Context) ([]auth.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.users), func(a, b auth.User) int { return strings.Compare(a.Name, b.Name) }), nil
}

func (m *memStore) User(_ context.Context, id string) (auth.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u, ok := m.users[id]; ok {
		return clone(u), nil
	}
	return auth.User{}, errand.Errorf(errand.NotFound, "user", "none")
}

func (m *memStore) UserByName(_ context.Context, name string) (auth.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		if u.Name == name {
			return clone(u), nil
		}
	}
	return auth.User{}, errand.Errorf(errand.NotFound, "user", "none")
}

func (m *memStore) UpdateUser(_ context.Context, id string, fn func(*auth.User) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[id]
	if !ok {
		return errand.Errorf(errand.NotFound, "user", "none")
	}
	u = clone(u)
	if err := fn(&u); err != nil {
		return err
	}
	m.users[id] = clone(u)
	return nil
}

func (m *memStore) AddKey(_ context.Context, k auth.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[k.Access]; ok {
		return errand.Errorf(errand.Conflict, "access_key", "taken")
	}
	m.keys[k.Access] = k
	return nil
}

func (m *memStore) Key(_ context.Context, access string) (auth.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.keys[access]; ok {
		return k, nil
	}
	return auth.Key{}, errand.Errorf(errand.NotFound, "access_key", "none")
}

func (m *memStore) Keys(_ context.Context, userID string) ([]auth.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []auth.Key
	for _, access := range slices.Sorted(maps.Keys(m.keys)) {
		if m.keys[access].UserID == userID {
			keys = append(keys, m.keys[access])
		}
	}
	return keys, nil
}

func (m *memStore) DeleteKey(_ context.Context, access string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[access]; !ok {
		return errand.Errorf(errand.NotFound, "access_key", "none")
	}
	delete(m.keys, access)
	return nil
}

func (m *memStore) AddToken(_ context.Context, t auth.Token, keep int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens = append(m.tokens, t)
	n := 0
	for i := len(m.tokens) - 1; i >= 0; i-- {
		own := m.tokens[i].UserID == t.UserID
		if own {
			n++
		}
		if m.tokens[i].ExpiresAt.Before(t.CreatedAt) || own && n > keep {
			m.tokens = slices.Delete(m.tokens, i, i+1)
		}
	}
	return nil
}

func (m *memStore) Token(_ context.Context, hash []byte) (auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tokens {
		if bytes.Equal(t.Hash, hash) {
			return t, nil
		}
	}
	return auth.Token{}, errand.Errorf(errand.NotFound, "token", "none")
}

func (m *memStore) Check(_ context.Context, name string, value []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.checks[name]; !ok {
		m.checks[name] = bytes.Clone(value)
	}
	return m.checks[name], nil
}
