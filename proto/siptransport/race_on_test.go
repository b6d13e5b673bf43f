//go:build race

package siptransport

// raceEnabled: the race detector makes sync.Pool forget, so allocations are not counted under it.
const raceEnabled = true
