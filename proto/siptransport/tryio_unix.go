//go:build unix

package siptransport

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawOf gives raw access to a kernel socket; nil for any other conn.
func rawOf(nc net.Conn) syscall.RawConn {
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// trySend writes what fd takes at once; no error if that is nothing.
func trySend(fd uintptr, p []byte) (int, error) {
	for {
		n, errno := trySendOnce(fd, p)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, errno
		}
	}
}

// tryRecv reads what fd holds; again says that it holds nothing yet.
func tryRecv(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, errno := tryRecvOnce(fd, p)
		switch errno {
		case 0:
			return n, false, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, errno
		}
	}
}
