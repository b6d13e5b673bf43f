//go:build !linux

package rtpport

import (
	"net"
	"net/netip"
)

// thread and descriptor are for systems with epoll.
type (
	thread     struct{}
	descriptor struct{ udpSocket }
)

func newThread(*PollerConfig) (*thread, error)          { return nil, ErrUnpollable }
func (*descriptor) share(*net.UDPConn) error            { return ErrUnpollable }
func (*thread) add(*Port) error                         { return ErrUnpollable }
func (*thread) remove(*Port)                            {}
func (*thread) run()                                    {}
func (p *Port) leave(b []byte, to netip.AddrPort) error { return p.descriptor.write(b, to) }
func (*thread) stop()                                   {}
func (*thread) close()                                  {}
func (*descriptor) close() error                        { return nil }
