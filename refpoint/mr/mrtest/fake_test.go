package mrtest

import (
	"testing"

	"imsafe/refpoint/mr"
)

func TestFake(t *testing.T) { Run(t, func(*testing.T) mr.Server { return NewFake(2) }) }
