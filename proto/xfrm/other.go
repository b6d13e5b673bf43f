//go:build !linux

package xfrm

import (
	"net"
	"net/netip"
	"syscall"
)

// Kernel is the way to the kernel's table of associations and policies: Linux has one.
type Kernel struct{ out message }

// OpenKernel returns ErrNoXFRM.
func OpenKernel() (*Kernel, error) { return nil, ErrNoXFRM }

// Close closes nothing.
func (*Kernel) Close() error { return nil }

func (*Kernel) do(*message, []error) error                      { return ErrNoXFRM }
func (*Kernel) dump(*message, func(uint16, []byte)) error       { return ErrNoXFRM }
func (*Kernel) listen() error                                   { return ErrNoXFRM }
func (*Kernel) receive(func(uint16, uint32, []byte) bool) error { return ErrNoXFRM }
func (*Kernel) hear() bool                                      { return false }
func (*Kernel) cease()                                          {}

type sender struct{}

func newSender(*net.UDPConn) (*sender, error)     { return nil, ErrNoXFRM }
func (*sender) send([]byte, netip.AddrPort) error { return ErrNoXFRM }

// Require returns what refuses a socket.
func Require(netip.AddrPort) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error { return ErrNoXFRM }
}
