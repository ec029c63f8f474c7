package wire

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/errandhq/errand"
)

// The bounds of what is kept of one route's answers, in bytes.
const (
	maxKept     = 4 << 20
	maxKeptBody = 64 << 10
)

// kept remembers the bodies of answers by what was asked, each with the version
// of what it tells.
type kept[In, Version comparable] struct {
	mu     sync.RWMutex
	size   int
	bodies map[In]keptBody[Version]
}

type keptBody[Version comparable] struct {
	version Version
	body    []byte
}

func (k *kept[In, Version]) get(in In, v Version) []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if b, ok := k.bodies[in]; ok && b.version == v {
		return b.body
	}
	return nil
}

func (k *kept[In, Version]) put(in In, v Version, body []byte) {
	if len(body) > maxKeptBody {
		return
	}
	body = slices.Clone(body)
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.bodies[in]; ok {
		k.size -= len(old.body)
	}
	k.size += len(body)
	k.bodies[in] = keptBody[Version]{v, body}
	for other, b := range k.bodies { // any one but this
		if k.size <= maxKept {
			break
		}
		if other != in {
			k.size -= len(b.body)
			delete(k.bodies, other)
		}
	}
}

// HandleKept is Handle for reads that are often the same: as long as version
// returns what it returned before, so is the answer, and it is sent again without
// a call. The zero version is never kept. version decides who may ask like call
// does, and fails as call would. The answer must be 200 and JSON.
func HandleKept[In, Version comparable, Out any](d *Dialect, pattern string,
	decode func(*http.Request) (In, error),
	version func(errand.Principal, In) (Version, error),
	call func(context.Context, errand.Principal, In) (Out, error),
	encode func(*Reply, Out),
) {
	k := &kept[In, Version]{bodies: map[In]keptBody[Version]{}}
	d.handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		x := ExchangeOf(r)
		x.Dialect, x.Route = d.Name, pattern
		err := authenticate(d.Auth, r, x)
		var in In
		if err == nil {
			in, err = decode(r)
		}
		var v, unknown Version
		if err == nil {
			v, err = version(x.Principal, in)
		}
		if err != nil {
			d.Fail(w, r, err)
			return
		}
		if v != unknown {
			if body := k.get(in, v); body != nil {
				sendJSON(w, http.StatusOK, body)
				return
			}
		}
		out, err := call(r.Context(), x.Principal, in)
		if err != nil {
			d.Fail(w, r, err)
			return
		}
		reply := newReply()
		encode(reply, out)
		if v != unknown {
			k.put(in, v, reply.Body)
		}
		reply.send(r.Context(), w, r.Method)
	})
}
