package esp

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestRefuse holds that the three checks a laboratory may switch off are asked about, one by one, and that a packet passes exactly if the
// answer is no.
func TestRefuse(t *testing.T) {
	for _, tr := range transforms {
		for _, tunnel := range []bool{false, true} {
			for _, off := range []Drop{Accepted, DropReplay, DropAuth, DropSelector} {
				t.Run(tr.String()+"/"+off.String(), func(t *testing.T) { testRefuse(t, tr, tunnel, off) })
			}
		}
	}
}

func testRefuse(t *testing.T, tr Transform, tunnel bool, off Drop) {
	r := newRig(t, tr, false, tunnel)
	var asked []Drop
	r.p = New(Config{Random: rand.Reader, KeepForged: true, Refuse: func(d Drop) bool { asked = append(asked, d); return d != off }})
	r.agree(tr, false, tunnel, 38011)

	good, flipped, moved := r.up("MESSAGE one"), r.up("MESSAGE two"), r.up("MESSAGE six")
	flipped[len(flipped)-1] ^= 1 // of the ICV: what was encrypted stays readable
	stranger := netip.MustParseAddr("192.0.2.77")
	for _, attempt := range []struct {
		packet []byte
		from   netip.Addr
		want   Drop
	}{{good, ueAddr, Accepted}, {good, ueAddr, DropReplay}, {flipped, ueAddr, DropAuth}, {moved, stranger, DropSelector}} {
		asked = nil
		port := uint16(0)
		if tunnel {
			port = natPort
		}
		var d Datagram
		verdict := r.p.Open(slices.Clone(attempt.packet), netip.AddrPortFrom(attempt.from, port), pAddr, &d)
		want := attempt.want
		if want == off {
			want = Accepted
		}
		if verdict != want {
			t.Errorf("%v is %v, want %v", attempt.want, verdict, want)
		}
		if verdict == Accepted && !strings.HasPrefix(string(d.Payload), "MESSAGE ") {
			t.Errorf("the payload of %v is %q", attempt.want, d.Payload)
		}
		if (attempt.want == Accepted) != (len(asked) == 0) {
			t.Errorf("asked about %v", asked)
		}
	}
}
