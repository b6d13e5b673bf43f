//go:build !race

package sip

// raceEnabled is false: Limits.Poison decides.
const raceEnabled = false
