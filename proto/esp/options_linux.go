package esp

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketBuffer is asked for in octets; the system gives what its limit allows.
const socketBuffer = 4 << 20

// SocketOptions sets what sockets of fronts need; it is a net.ListenConfig's Control. ESP in transport mode covers whole datagrams, so
// large packets are fragmented outside, by the kernel: path MTU discovery is off.
func SocketOptions(network, _ string, c syscall.RawConn) error {
	var err error
	control := func(fd uintptr) {
		if strings.HasPrefix(network, "ip6") || strings.HasPrefix(network, "udp6") {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		}
		if err == nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer) // less is no reason to fail
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
		}
	}
	if cerr := c.Control(control); cerr != nil {
		return cerr
	}
	return err
}
