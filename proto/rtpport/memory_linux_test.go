package rtpport

import (
	"testing"
	"unsafe"
)

// TestMemory_what_a_packet_asks_is_in_few_lines of the processor's cache. A line is 64 octets; an object of more than 512 with pointers begins 8 before one
// (Go's allocator puts a header there), a smaller one of a multiple of 64 at one.
func TestMemory_what_a_packet_asks_is_in_few_lines(t *testing.T) {
	const line, header = 64, 8
	var l Leg
	var p Port
	if unsafe.Sizeof(l) <= 512 {
		t.Error("a leg has no header any more")
	}
	for name, at := range map[string]uintptr{"the sender": unsafe.Offsetof(l.tx), "the receiver": unsafe.Offsetof(l.rx), "the counters": unsafe.Offsetof(l.counters)} {
		if (at+header)%line != 0 {
			t.Errorf("%s begins within a line, at %d", name, at)
		}
	}
	if end := unsafe.Offsetof(l.counters) + unsafe.Offsetof(l.counters.OctetsOut); end+header >= 5*line {
		t.Errorf("what a packet asks of a leg ends at %d", end)
	}
	if unsafe.Offsetof(p.beside) >= line {
		t.Error("what a packet asks of a port is in two lines")
	}
	if size := unsafe.Sizeof(p); size%line != 0 {
		t.Errorf("a port has %d octets, no multiple of a line", size)
	}
}
