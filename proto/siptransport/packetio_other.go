//go:build !linux

package siptransport

// readVector is what a batch carries for batched system calls: nothing here.
type readVector struct{}

func (*readVector) init(*batch) {}

// newPacketIO chooses the packetIO of d's socket.
func newPacketIO(d *Datagrams) packetIO { return newSingleIO(d) }
