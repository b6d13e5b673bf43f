//go:build !linux

package host

import (
	"context"
	"errors"
	"net/netip"
)

var errNotHere = errors.New("not on this operating system")

// Synchronised implements doctor.Host.
func (Host) Synchronised() (bool, error) { return false, errNotHere }

// Free implements doctor.Host.
func (Host) Free(string) (uint64, error) { return 0, errNotHere }

// LoopESP implements doctor.Host.
func (Host) LoopESP(context.Context, netip.Addr) error { return errNotHere }

// LoopFragments implements doctor.Host.
func (Host) LoopFragments(context.Context, netip.Addr, int) error { return errNotHere }
