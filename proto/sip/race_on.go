//go:build race

package sip

// raceEnabled turns Limits.Poison on in every test that runs under the race detector.
const raceEnabled = true
