package iqtest

import "testing"

func TestFake(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		f := NewFake(100)
		f.PerUser = PerUser
		return Harness{Gateway: f, Free: f.Free}
	})
}
