// User-Mode Linux 6.1 keeps the floating-point state of its processes in a buffer of its own size and writes it back with ptrace. A kernel takes that only whole, and
// on a processor with AMX the whole is larger: then no process of the guest starts. Loaded before the C library, this ptrace completes what is too short by
// what is there.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long call(long request, long pid, long addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

// The C library's ptrace returns what it peeks at; the system call writes it.
static long peek(long request, long pid, long addr)
{
	long word = 0, failed = call(request, pid, addr, &word);
	if (failed)
		return failed;
	errno = 0;
	return word;
}

long ptrace(enum __ptrace_request request, ...)
{
	static char state[1 << 15] __attribute__((aligned(64))); // User-Mode Linux has one thread, on a small stack
	va_list rest;
	va_start(rest, request);
	long pid = va_arg(rest, int), addr = va_arg(rest, long);
	void *data = va_arg(rest, void *);
	va_end(rest);

	struct iovec *part = data, whole = {state, sizeof state};
	switch (request) {
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA:
	case PTRACE_PEEKUSER:
		return peek(request, pid, addr);
	case PTRACE_SETREGSET:
		if (addr != NT_X86_XSTATE || call(PTRACE_GETREGSET, pid, addr, &whole) || whole.iov_len <= part->iov_len)
			break;
		memcpy(state, part->iov_base, part->iov_len);
		return call(request, pid, addr, &whole);
	default:
		break;
	}
	return call(request, pid, addr, data);
}
