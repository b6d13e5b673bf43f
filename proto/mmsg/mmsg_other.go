//go:build !linux

package mmsg

import "net/netip"

// Reader is not there on this system.
type Reader struct{}

// NewReader reports false.
func NewReader(any, [][]byte) (*Reader, bool) { return nil, false }

// Stamp is not called: there is no Reader.
func (*Reader) Stamp() {}

// Read is not called.
func (*Reader) Read() (int, error) { return 0, nil }

// Size is not called.
func (*Reader) Size(int) int { return 0 }

// From is not called.
func (*Reader) From(int) netip.AddrPort { return netip.AddrPort{} }

// Cut is not called.
func (*Reader) Cut(int) bool { return false }

// Came is not called.
func (*Reader) Came() int64 { return 0 }

// Writer is not there on this system.
type Writer struct{}

// NewWriter reports false.
func NewWriter(any, int) (*Writer, bool) { return nil, false }

// Room is not called: there is no Writer.
func (*Writer) Room() int { return 0 }

// Set is not called.
func (*Writer) Set(int, []byte, netip.AddrPort) {}

// Send is not called.
func (*Writer) Send(int, int) (int, error) { return 0, nil }
