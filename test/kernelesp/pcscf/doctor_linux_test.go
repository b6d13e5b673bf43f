package pcscf

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/doctor"
	"imsafe/test/live"
)

// isExamined has the doctor look at the node where nobody else minds what its kernel and its clock say: buffers are too small for a burst, which is lost, and are made
// larger; and somebody sets the clock.
func (p *pcscf) isExamined(t *testing.T) {
	p.examined(t, finds{{doctor.UDPBuffers, doctor.Hint, "net.core.rmem_max is " + strings.TrimSpace(p.sh("cat /proc/sys/net/core/rmem_max"))}, {doctor.UDPDrops, doctor.Fine, ""},
		{doctor.ClockService, doctor.Hint, "not synchronised"}, {doctor.ClockSane, doctor.Fine, ""}, {doctor.ClockJump, doctor.Fine, ""}})
	p.overflows(t)
	p.sh("for f in rmem wmem; do echo 4194304 > /proc/sys/net/core/${f}_max; done")
	seconds, err := strconv.ParseInt(strings.TrimSpace(p.sh("/bin/busybox date +%s")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	set := func(to int64) { p.sh(fmt.Sprintf("/bin/busybox date -s @%d", to)) }
	set(seconds + 3660) // what was read is up to a minute old by now, on a busy machine
	p.examined(t, finds{{doctor.UDPBuffers, doctor.Fine, "4194304 octets"}, {doctor.UDPDrops, doctor.Hint, "most of them at port 5060"},
		{doctor.ClockSane, doctor.Fine, ""}, {doctor.ClockJump, doctor.Hint, "its clock has moved by 1h0m"}})
	set(seconds - 30*365*24*3600)
	p.examined(t, finds{{doctor.ClockSane, doctor.Breaks, "before this program was written"}, {doctor.ClockJump, doctor.Hint, "its clock has moved by -2"}})
	set(seconds)
}

// finds are what the doctor has to find, each with words of it.
type finds []struct {
	code  doctor.Code
	level doctor.Level
	words string
}

// examined runs the doctor in the guest.
func (p *pcscf) examined(t *testing.T, want finds) {
	t.Helper()
	said := p.sh("/opt/imsafe --json doctor --all --config /tmp/imsafe.toml")
	var all struct{ Findings []doctor.Finding }
	if err := json.NewDecoder(strings.NewReader(said)).Decode(&all); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, w := range want {
		if !slices.ContainsFunc(all.Findings, func(f doctor.Finding) bool {
			return f.Code == string(w.code) && f.Level == w.level && strings.Contains(f.What, w.words)
		}) {
			t.Errorf("the doctor does not find %s %s with %q: %s", w.level, w.code, w.words, said)
		}
	}
}

// overflows sends datagrams to the node while it is held, until its kernel says that it has dropped some for want of room.
func (p *pcscf) overflows(t *testing.T) {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(guests[0], 5060)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	p.sh("kill -STOP $(cat /tmp/pid)")
	defer p.sh("kill -CONT $(cat /tmp/pid)")
	// Columns of Udp in /proc/net/snmp: InDatagrams, NoPorts, InErrors, OutDatagrams, RcvbufErrors, ...
	errors := func() string {
		return strings.TrimSpace(p.sh("/bin/busybox awk '/^Udp: [0-9]/ {print $6}' /proc/net/snmp"))
	}
	before := errors()
	for end := time.Now().Add(live.Patience); errors() == before; {
		if time.Now().After(end) {
			t.Fatalf("nothing was dropped: %s", p.sh("cat /proc/net/snmp /proc/net/udp"))
		}
		for range 1000 {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
