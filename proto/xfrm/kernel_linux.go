package xfrm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Kernel is the way to the kernel's table of associations and policies, in the network namespace of who opened it. Not safe for concurrent use.
type Kernel struct {
	fd   int
	stop int // an eventfd: Watch shall end
	in   [1 << 15]byte
	out  message
}

// OpenKernel opens it. The error is ErrNoXFRM where the kernel has none; whether we may change anything shows later (Probe).
func OpenKernel() (*Kernel, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, ErrNoXFRM
	}
	if err != nil {
		return nil, fmt.Errorf("xfrm: %w", err)
	}
	k := &Kernel{fd: fd, stop: -1}
	// The kernel answers before send returns. Who waits all the same shall not wait for ever.
	err = errors.Join(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)) // an error shall not bring keys back
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("xfrm: %w", err)
	}
	return k, nil
}

// Close closes it.
func (k *Kernel) Close() error {
	err := unix.Close(k.fd)
	if k.stop >= 0 {
		err = errors.Join(err, unix.Close(k.stop))
	}
	return err
}

// do sends requests and waits for the acknowledgement of each: results has one error, or nil, for each. The error is one of the socket: then
// nobody knows what the kernel has done.
func (k *Kernel) do(m *message, results []error) error {
	if err := unix.Sendto(k.fd, m.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("xfrm: %w", err)
	}
	for left := m.count; left > 0; {
		err := k.receive(func(kind uint16, number uint32, body []byte) bool {
			switch {
			case int(number) >= m.count:
			case kind == msgError:
				left--
				results[number] = errorOf(body)
			case kind == msgNewSA && m.told != nil:
				m.told(int(number), body)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dump sends one request and gives each part of what the kernel tells to f.
func (k *Kernel) dump(m *message, f func(kind uint16, body []byte)) (err error) {
	if err := unix.Sendto(k.fd, m.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("xfrm: %w", err)
	}
	var failed error
	for done := false; !done && err == nil; {
		err = k.receive(func(kind uint16, _ uint32, body []byte) bool {
			switch kind {
			case msgDone, msgError:
				done, failed = true, errorOf(body)
			default:
				f(kind, body)
			}
			return !done
		})
	}
	return errors.Join(err, failed)
}

// receive reads once and takes the messages apart, until f has enough.
func (k *Kernel) receive(f func(kind uint16, number uint32, body []byte) bool) error {
	n, from, err := unix.Recvfrom(k.fd, k.in[:], 0)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("xfrm: %w", err)
	}
	if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
		return nil // another process speaks to us
	}
	for b := k.in[:n]; len(b) >= sizeHeader; {
		size := int(native.Uint32(b))
		if size < sizeHeader || size > len(b) {
			return errMalformed
		}
		if !f(native.Uint16(b[4:]), native.Uint32(b[8:]), b[sizeHeader:size]) {
			return nil
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

// errorOf is the verdict in an acknowledgement; nil for success.
func errorOf(body []byte) error {
	if len(body) < 4 {
		return errMalformed
	}
	if n := int32(native.Uint32(body)); n != 0 {
		return unix.Errno(-n)
	}
	return nil
}

// listen subscribes to word of associations that end.
func (k *Kernel) listen() (err error) {
	const groupExpire = 2
	if k.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err == nil {
		err = unix.SetsockoptInt(k.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, groupExpire)
	}
	if err != nil {
		return fmt.Errorf("xfrm: %w", err)
	}
	return nil
}

// hear waits until the kernel says something; false if cease was called.
func (k *Kernel) hear() bool {
	ready := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN}, {Fd: int32(k.stop), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(ready, -1); !errors.Is(err, unix.EINTR) {
			return ready[1].Revents == 0
		}
	}
}

// cease ends hear, from any goroutine.
func (k *Kernel) cease() { _, _ = unix.Write(k.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }
