//go:build !race

package siptxn

const raceEnabled = false
