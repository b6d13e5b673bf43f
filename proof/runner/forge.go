package runner

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	"imsafe/proof/attack"
)

var _ attack.Forger = (*limiter)(nil)

// Forge implements attack.Forger within the bounds: to the target, and from loopback alone.
func (l *limiter) Forge(from, to netip.AddrPort) (io.WriteCloser, error) {
	if !slices.Contains(l.targets, to) || !from.Addr().IsLoopback() {
		return nil, fmt.Errorf("%w: from %v to %v", ErrBounds, from, to)
	}
	network, can := l.network.(attack.Forger)
	if !can {
		return nil, fmt.Errorf("%w: no raw sockets", attack.ErrNotHere)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	w, err := network.Forge(from, to)
	if err != nil {
		return nil, err
	}
	return &limitedForger{w, l}, nil
}

var _ attack.Local = (*limiter)(nil)

// DialLocal implements attack.Local within the bounds: the operator's socket of the target, and no other.
func (l *limiter) DialLocal(ctx context.Context, path string) (net.Conn, error) {
	if path != l.local || path == "" {
		return nil, fmt.Errorf("%w: %s is no socket of the target", ErrBounds, path)
	}
	network, can := l.network.(attack.Local)
	if !can {
		return nil, fmt.Errorf("%w: no sockets of the file system", attack.ErrNotHere)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	conn, err := network.DialLocal(ctx, path)
	if err != nil {
		return nil, err
	}
	return &limited{Conn: conn, l: l}, nil
}

type limitedForger struct {
	io.WriteCloser
	l *limiter
}

// Write implements io.Writer within the bounds.
func (f *limitedForger) Write(b []byte) (int, error) {
	if err := f.l.spend(len(b)); err != nil {
		return 0, err
	}
	return f.WriteCloser.Write(b)
}
