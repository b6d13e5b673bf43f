package attack

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// ErrNotHere is what a driver returns, wrapped, when the host refuses what it needs. The row reads "not run here" then, and its cells claimed.
var ErrNotHere = errors.New("this host does not let it run")

// Forger is a Network that can write datagrams with a source of somebody else. That takes a raw socket, which not every host gives.
type Forger interface {
	// Forge returns what each Write sends from one address to another in a datagram. The error wraps ErrNotHere where the host refuses.
	Forge(from, to netip.AddrPort) (io.WriteCloser, error)
}

// forge is Forger of the attacker's network.
func (f *Field) forge(from, to netip.AddrPort) (io.WriteCloser, error) {
	network, can := f.attacker.(Forger)
	if !can {
		return nil, fmt.Errorf("%w: no network to forge sources in", ErrNotHere)
	}
	return network.Forge(from, to)
}
