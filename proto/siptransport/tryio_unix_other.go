//go:build unix && !linux

package siptransport

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func tryRecvOnce(fd uintptr, p []byte) (int, syscall.Errno) { return errnoOf(unix.Read(int(fd), p)) }
func trySendOnce(fd uintptr, p []byte) (int, syscall.Errno) { return errnoOf(unix.Write(int(fd), p)) }

func errnoOf(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		errno = unix.EIO
	}
	return 0, errno
}
