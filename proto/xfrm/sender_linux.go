package xfrm

import (
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// sender sends datagrams from one socket and never waits: where there is no association the kernel says "try again", and who waited for the
// socket to be ready would wait for ever.
type sender struct {
	raw   syscall.RawConn
	sends sync.Pool // of *sending
}

// sending is one datagram on its way. Its function is made once.
type sending struct {
	payload []byte
	to      unix.Sockaddr
	four    unix.SockaddrInet4
	six     unix.SockaddrInet6
	err     error
	do      func(fd uintptr) bool
}

func newSender(c *net.UDPConn) (*sender, error) {
	raw, err := c.SyscallConn()
	s := &sender{raw: raw}
	s.sends.New = func() any {
		x := &sending{}
		x.do = func(fd uintptr) bool {
			x.err = unix.Sendto(int(fd), x.payload, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, x.to)
			return true
		}
		return x
	}
	return s, err
}

// send sends payload. It does not keep it. Safe for concurrent use.
func (s *sender) send(payload []byte, to netip.AddrPort) error {
	x := s.sends.Get().(*sending)
	defer s.sends.Put(x)
	x.payload = payload
	if to.Addr().Is4() {
		x.four.Addr, x.four.Port = to.Addr().As4(), int(to.Port())
		x.to = &x.four
	} else {
		x.six.Addr, x.six.Port = to.Addr().As16(), int(to.Port())
		x.to = &x.six
	}
	err := s.raw.Write(x.do)
	x.payload = nil
	if err != nil {
		return err
	}
	return x.err
}
