package xfrm

import (
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Require makes a socket one of the protected port at local, before it is bound (net.ListenConfig.Control, net.Dialer.Control): ESP of ours
// is required by the socket itself, too. Policies of the host do not hold on its loopback interface, and those of a socket do, so a process
// beside ours is heard no more than anybody else; and they end with the socket. It needs CAP_NET_ADMIN.
func Require(local netip.AddrPort) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) (err error) {
		level, option := unix.SOL_IP, unix.IP_XFRM_POLICY
		if local.Addr().Is6() {
			level, option = unix.SOL_IPV6, unix.IPV6_XFRM_POLICY
		}
		cerr := c.Control(func(fd uintptr) {
			for _, dir := range []uint8{dirIn, dirOut} {
				var b [sizePolicy + sizeTemplate]byte
				policy{local, dir}.put(b[:sizePolicy], b[sizePolicy:], Tag)
				if err == nil {
					err = unix.SetsockoptString(int(fd), level, option, string(b[:]))
				}
			}
			if err == nil && strings.HasPrefix(network, "tcp") { // each connection to a client has our client port
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			}
		})
		if cerr != nil {
			return cerr
		}
		return err
	}
}
