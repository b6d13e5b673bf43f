package attack

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBounded: where nobody else is, a bound is its time; it ends with the one in which it lies, and when it is not needed any more; who lies in it hears why.
func TestBounded(t *testing.T) {
	for name, c := range map[string]struct {
		outer  time.Duration
		needed bool
		want   error
		after  time.Duration
	}{
		"its own":       {time.Hour, true, context.DeadlineExceeded, time.Second},
		"the outer one": {time.Second / 2, true, context.DeadlineExceeded, time.Second / 2},
		"not needed":    {time.Hour, false, context.Canceled, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				outer, end := Bounded(t.Context(), c.outer)
				defer end()
				bounded, cancel := Bounded(outer, time.Second)
				defer cancel()
				inner, done := context.WithCancel(bounded)
				defer done()
				if !c.needed {
					cancel()
				}
				begun := time.Now()
				<-inner.Done()
				if took := time.Since(begun); took != c.after || !errors.Is(bounded.Err(), c.want) || !errors.Is(inner.Err(), c.want) {
					t.Errorf("after %v: %v, and within %v", took, bounded.Err(), inner.Err())
				}
			})
		})
	}
}

// TestCounts: a process that was not let run for a minute has not used a minute of its bound.
func TestCounts(t *testing.T) {
	if counts(turn) != turn || counts(turn+turn/2) != turn+turn/2 || counts(time.Minute) != 2*turn {
		t.Error(counts(turn), counts(turn+turn/2), counts(time.Minute))
	}
}

// TestField_waits: a party that does not end keeps nobody from his turn, and is named.
func TestField_waits(t *testing.T) {
	ended, never := make(chan struct{}), make(chan struct{})
	close(ended)
	f := &Field{parties: []*Party{{User: &User{Name: "alice"}, ended: ended}}}
	if err := f.wait(time.Minute); err != nil {
		t.Error(err)
	}
	f.parties = append(f.parties, &Party{User: &User{Name: "bob"}, ended: never})
	if err := f.wait(time.Millisecond); err == nil || !strings.Contains(err.Error(), "bob") {
		t.Errorf("%v", err)
	}
}
