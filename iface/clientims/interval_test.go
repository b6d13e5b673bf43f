package clientims

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// leastOf is the Min-Expires of a 423.
func leastOf(t *testing.T, answers []string) string {
	t.Helper()
	want(t, answers, 423)
	m, err := sip.NewPool(sip.Limits{}).Parse([]byte(answers[0]))
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Get(sip.HdrMinExpires))
}

// TestInterval: somebody forges alice's name from ever other addresses until it has spent what it has where nothing is proven. Alice, who is where she never was, is asked for
// an interval, names it, and registers; nobody else gets anywhere with hers.
func TestInterval(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	forges := func(times int) {
		for range times {
			b.n++
			forger := b.phone("alice", fmt.Sprintf("198.18.%d.%d", b.n/200, b.n%200+1))
			forger.sendClear("REGISTER", forger.offer())
		}
	}
	forges(20)
	if b.refusals(secure.CIAvailabilityPathProof) == 0 {
		t.Fatal("the forger is not refused: the test proves nothing")
	}
	p := b.phone("alice", "203.0.113.7")
	least := leastOf(t, p.sendClear("REGISTER", p.offer()))
	asks := func(interval string) func(string) string {
		return func(s string) string { return strings.Replace(s, "expires=600000", "expires="+interval, 1) }
	}

	other := b.phone("alice", "203.0.113.8")
	other.edit = asks(least)
	if told := leastOf(t, other.sendClear("REGISTER", other.offer())); told == least {
		t.Error("two addresses are told the same")
	}
	b.advance(time.Minute)
	forges(20)
	p.edit = asks(least)
	p.register()

	// One that is too old is worth nothing, and who takes a registration back is told none.
	late := b.phone("alice", "203.0.113.9")
	forges(20)
	late.edit = asks(leastOf(t, late.sendClear("REGISTER", late.offer())))
	b.advance(2 * time.Minute)
	forges(20)
	if answers := late.sendClear("REGISTER", late.offer()); len(answers) > 0 { // there is none if it asks for more than it would be told
		_ = leastOf(t, answers)
	}
	late.edit = asks("0")
	want(t, late.sendClear("REGISTER", late.offer()), 0)
}

// TestInterval_bounds: what is told are sound intervals, and what others ask for is none of them.
func TestInterval_bounds(t *testing.T) {
	i := newIntervals(shard.NewSealer(shard.SealingKey{1}))
	seen := map[uint32]bool{}
	for n := range 1000 {
		a := netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)})
		told := i.of(a, 0)
		if seen[told] = true; told < leastInterval || told >= leastInterval+1<<intervalBits || !i.tells(a, told, intervalLife) || i.tells(a, told, 2*intervalLife) {
			t.Errorf("%v is told %d", a, told)
		}
	}
	if len(seen) < 990 {
		t.Errorf("%d intervals for 1000 addresses", len(seen))
	}
	for _, seconds := range []uint32{0, 3600, 600_000, leastInterval - 1, leastInterval + 1<<intervalBits, 1<<32 - 1} {
		if i.tells(netip.MustParseAddr("192.0.2.1"), seconds, 0) {
			t.Errorf("%d was never told", seconds)
		}
	}
}
