package management

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerCredentials returns who opened the other end of a Unix socket, as the kernel noted it at connect.
func peerCredentials(c net.Conn) (uid uint32, pid int32, err error) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return 0, 0, fmt.Errorf("management: %T is no Unix socket", c)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var credentials *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, 0, fmt.Errorf("management: peer credentials: %w", err)
	}
	return credentials.Uid, credentials.Pid, nil
}
