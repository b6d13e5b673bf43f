package main

import (
	"fmt"
	"time"
)

// patience is how long a person waits before he wants to know that something happens; tick how often he is told then.
const (
	patience = 2 * time.Second
	tick     = 5 * time.Second
)

// progress tells on standard error, after two seconds and then now and again, that what is still going on. The function it
// returns ends it.
func (a *app) progress(what string) (stop func()) {
	return a.progressOf(func() string { return what })
}

// progressOf is progress of what says how far it is.
func (a *app) progressOf(what func() string) (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	begun := time.Now()
	go func() {
		defer close(gone)
		t := time.NewTimer(patience)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
				fmt.Fprintf(a.stderr, "%s: %.0f s so far\n", what(), time.Since(begun).Seconds())
				t.Reset(tick)
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
	}
}
