//go:build !race

package siptransport

const raceEnabled = false
