//go:build unix

package siptransport

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// SocketBuffer is what we ask the kernel for, in octets, in each direction of a UDP socket: a burst that waits there costs nothing, a
// burst that is dropped comes back as retransmissions.
const SocketBuffer = 4 << 20

// ListenUDP opens n UDP sockets on the same address with SO_REUSEPORT, one per shard; the kernel keeps the datagrams of one
// peer on one socket as long as none of the n is closed. Port 0 is chosen once and shared. An IPv6 socket takes no IPv4. The
// readers ([Datagrams.Serve]) close them; after an error none is left open. Another process of the same user could join the
// group: bind production sockets as a user of its own.
func ListenUDP(addr netip.AddrPort, n int) ([]*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = setUDP(int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	network := "udp6"
	if addr.Addr().Unmap().Is4() {
		network = "udp4"
	}
	// A socket with SO_REUSEPORT would join another process's group on a taken port, and be given a shared one for port 0. One
	// without it shows that the port is free, and is the port's first choice.
	probe, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	addr = addrPort(probe.LocalAddr())
	if err := probe.Close(); err != nil {
		return nil, err
	}
	var socks []*net.UDPConn
	for range n {
		pc, err := lc.ListenPacket(context.Background(), network, addr.String())
		if err != nil {
			for _, s := range socks {
				_ = s.Close()
			}
			return nil, err
		}
		u := pc.(*net.UDPConn)
		_ = u.SetReadBuffer(SocketBuffer) // the kernel's own limit decides
		_ = u.SetWriteBuffer(SocketBuffer)
		socks = append(socks, u)
		addr = addrPort(u.LocalAddr())
	}
	return socks, nil
}

// setUDP sets the options that must stand before bind.
func setUDP(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}
