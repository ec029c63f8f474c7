package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func still() time.Time { return time.Unix(1e9, 0) }

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	finds := 0
	c := newCache(still, func(_ context.Context, k int) (int, error) {
		finds++
		if k < 0 {
			return 0, badToken()
		}
		return k, nil
	})
	for k := 1; k <= maxKnown; k++ {
		if v, err := c.get(t.Context(), k); v != k || err != nil {
			t.Fatalf("get(%d) = %d, %v", k, v, err)
		}
	}
	for k := 1; k <= 3*maxUnknown; k++ {
		if _, err := c.get(t.Context(), -k); err == nil {
			t.Fatal("found what is not there")
		}
		if len(c.unknown) > maxUnknown {
			t.Fatalf("%d unknown are remembered", len(c.unknown))
		}
	}
	before := finds
	if _, _ = c.get(t.Context(), 1); finds != before {
		t.Error("a flood of the unknown pushed out a known one")
	}
	if _, _ = c.get(t.Context(), maxKnown+1); len(c.known) > maxKnown {
		t.Errorf("%d known are remembered", len(c.known))
	}
}

func TestCacheForgetsOtherErrors(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("disk"), errand.Errorf(errand.Unavailable, "store", "busy")} {
		finds := 0
		c := newCache(still, func(context.Context, int) (int, error) { finds++; return 0, err })
		for range 2 {
			if _, got := c.get(t.Context(), 1); !errors.Is(got, err) {
				t.Errorf("get = %v, want %v", got, err)
			}
		}
		if finds != 2 {
			t.Errorf("%v was remembered", err)
		}
	}
}

// What was read before a change must not be remembered after it.
func TestCacheForgetsWhatIsBeingLookedUp(t *testing.T) {
	t.Parallel()
	value := 1
	var c *cache[int, int]
	c = newCache(still, func(context.Context, int) (int, error) {
		read := value
		if read == 1 {
			value = 2
			c.forget()
		}
		return read, nil
	})
	_, _ = c.get(t.Context(), 7)
	if v, _ := c.get(t.Context(), 7); v != 2 {
		t.Errorf("get = %d, want what is there since the change", v)
	}
}

func TestCacheLookUpsAreBounded(t *testing.T) {
	t.Parallel()
	c := newCache(still, func(context.Context, int) (int, error) { return 1, nil })
	for range cap(c.slots) {
		c.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.get(ctx, 1)
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Unavailable {
		t.Errorf("get = %v, want unavailable", err)
	}
}
