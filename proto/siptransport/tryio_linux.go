package siptransport

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket of Go's never blocks. As ordinary system calls these would look to the scheduler like a thread that may be held, which has it watch and
// hand the processor over.

// tryRaw reads or writes once.
func tryRaw(call, fd uintptr, p []byte) (n int, errno syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	got, _, errno := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(got), 0
}

func tryRecvOnce(fd uintptr, p []byte) (int, syscall.Errno) { return tryRaw(unix.SYS_READ, fd, p) }
func trySendOnce(fd uintptr, p []byte) (int, syscall.Errno) { return tryRaw(unix.SYS_WRITE, fd, p) }
