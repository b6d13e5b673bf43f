// Package storetest is the conformance suite of store.Store: every engine passes it before a room may stand on it. Only tests
// import it.
package storetest

import (
	"testing"

	"imsafe/store"
)

// Engine opens one store again and again over the same state.
type Engine struct {
	// Open opens the store; a second Open sees what the first had acknowledged.
	Open func(t testing.TB) store.Store
	// Close ends the store that Open gave, cleanly.
	Close func(t testing.TB, s store.Store)
	// Crash ends it as a power cut or a kill would; nil if the engine cannot.
	Crash func(t testing.TB, s store.Store)
}

// Run runs the suite; factory makes an engine over new, empty state.
func Run(t *testing.T, factory func(t testing.TB) Engine) { panic("storetest: being written") }
