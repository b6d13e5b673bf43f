package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// ErrNotHere is what a driver returns, wrapped, when the host refuses what it needs. The row reads "not run here" then, and its cells claimed.
var ErrNotHere = errors.New("this host does not let it run")

// Forger is a Network that can write datagrams with a source of somebody else. That takes a raw socket, which not every host gives.
type Forger interface {
	// Forge returns what each Write sends from one address to another in a datagram. The error wraps ErrNotHere where the host refuses.
	Forge(from, to netip.AddrPort) (io.WriteCloser, error)
}

// Local is a Network of the host of the target: it opens sockets that stand in the file system.
type Local interface {
	DialLocal(ctx context.Context, path string) (net.Conn, error)
}

// dialLocal is Local of the attacker's network, for who has an account on the host.
func (f *Field) dialLocal(ctx context.Context, path string) (net.Conn, error) {
	if f.position != LocalAccount {
		return nil, errPosition
	}
	network, can := f.attacker.(Local)
	if !can {
		return nil, fmt.Errorf("%w: the host of the target is another", ErrNotHere)
	}
	return network.DialLocal(ctx, path)
}

// forge is Forger of the attacker's network.
func (f *Field) forge(from, to netip.AddrPort) (io.WriteCloser, error) {
	network, can := f.attacker.(Forger)
	if !can {
		return nil, fmt.Errorf("%w: no network to forge sources in", ErrNotHere)
	}
	return network.Forge(from, to)
}
