package main

import (
	"context"
	"errors"
	"testing"

	"imsafe/proof/attack"
	"imsafe/proof/runner"
)

// TestTarget_outOfTime: a run whose time is over in the middle of a question does the target no harm, and the next question gets its own answer.
func TestTarget_outOfTime(t *testing.T) {
	target, err := theLauncher(t).Launch(t.Context(), runner.Setup{Access: attack.TLS, Mode: attack.Direct})
	if err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	for range 2 {
		if err := target.Operate(over, "nothing", "nobody"); !errors.Is(err, context.Canceled) {
			t.Errorf("out of time: %v", err)
		}
	}
	if events, err := target.Events(t.Context()); err != nil {
		t.Errorf("the next question: %v, %v", events, err)
	}
	if err := target.Operate(t.Context(), "nothing", "nobody"); err == nil {
		t.Error("the answer to another question")
	}
	if err := target.Close(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}
