//go:build !linux

package esp

import "syscall"

// SocketOptions sets nothing on this system: large packets may be lost.
func SocketOptions(string, string, syscall.RawConn) error { return nil }
