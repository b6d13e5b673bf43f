//go:build race

package filter

// raceEnabled: the race detector makes sync.Pool forget, so allocations are not counted under it.
const raceEnabled = true
