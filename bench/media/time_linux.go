package media

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPacket is more than a voice with its tag.
const maxPacket = 512

// sleep waits, in the system call: the thread is the generator's own. What a timer may be late by is set to nothing.
func sleep(ns int64) {
	t := unix.NsecToTimespec(ns)
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
}

// exact takes the slack off the timers of this thread.
func exact() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// threadCPU is what this thread has used, in ns.
func threadCPU() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return t.Nano()
}
