// Package lab switches controls off, for attacks that must succeed when their control is missing.
//
// Off needs all of: lab mode, every socket inside the lab ranges, and a store that was marked lab when it
// was made (the store refuses the rest itself). Only the prove and attack verbs and tests may import
// this package; package check holds that.
package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"imsafe/policy"
	"imsafe/secure"
)

// Ground is what the caller says about the node that will run under the weakened policy.
type Ground struct {
	Lab       bool             // lab mode is on and the store is marked lab
	Listeners []netip.AddrPort // every socket the node will open
}

// ErrNotLab is returned when the node is not a lab node.
var ErrNotLab = errors.New("lab: controls can be switched off in lab mode only")

// Without returns p with controls off, or why this ground is no lab.
func Without(p policy.Effective, g Ground, controls ...secure.ControlID) (policy.Effective, error) {
	if !g.Lab {
		return p, ErrNotLab
	}
	for _, l := range g.Listeners {
		if !Inside(l.Addr()) {
			return p, fmt.Errorf("lab: %v is outside the lab ranges (loopback, private, documentation)", l)
		}
	}
	return p.Ablate(controls...)
}

var ranges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("2001:db8::/32"),
}

// Inside reports whether addr is loopback, private (RFC 1918, RFC 4193) or for documentation (RFC 5737,
// RFC 3849). The unspecified address is outside: it may be any of the host's.
func Inside(addr netip.Addr) bool {
	addr = addr.Unmap()
	if addr.IsLoopback() {
		return true
	}
	for _, r := range ranges {
		if r.Contains(addr) {
			return true
		}
	}
	return false
}
