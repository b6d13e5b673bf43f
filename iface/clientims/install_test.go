package clientims

import (
	"slices"
	"testing"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/refpoint/gm"
)

func TestGm_generations(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	arrivesBy := func(back int) {
		t.Helper()
		n := len(p.by)
		b.deliver(a, 5)
		if len(p.by) != n+1 || p.by[n] != p.sets[len(p.sets)-1-back] {
			t.Errorf("a request came by another set than the one %d before the newest", back)
		}
	}
	arrivesBy(0)
	offer := p.offer()
	challenge := p.send(0, "REGISTER", offer)
	want(t, challenge, 401)
	p.install(challenge[0])
	arrivesBy(1) // the new ones have proven nothing
	want(t, p.send(0, "MESSAGE"), 403)
	want(t, p.send(1, "MESSAGE"), 200)
	want(t, p.send(0, "REGISTER", offer), 200)
	if b.engine.Len() != 2 {
		t.Errorf("%d sets stand, want the new and the former", b.engine.Len())
	}
	arrivesBy(1) // it has not used the new ones since
	want(t, p.send(1, "MESSAGE"), 200)
	want(t, p.send(0, "MESSAGE"), 200)
	arrivesBy(0)
	b.advance(time.Minute + 64*2*time.Second)
	if b.engine.Len() != 1 {
		t.Errorf("%d sets stand, want one", b.engine.Len())
	}

	// A client that never uses them is reached by them after a while: it may have given the former up.
	p.renew()
	arrivesBy(1)
	b.advance(switchAfter)
	arrivesBy(0)

	// Three generations at most.
	for range 3 {
		challenge := p.send(0, "REGISTER", p.offer())
		want(t, challenge, 401)
	}
	if n := b.engine.Len(); n != 3 {
		t.Errorf("%d sets stand, want three: six associations in each direction", n)
	}
}

// TestGm_former_given_up is a client that has its former associations no more when it answers the challenge: what is sent again reaches it by the new
// ones, and a client that keeps both hears it twice by the same branch.
func TestGm_former_given_up(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		b := newGmBench(t, secagree.Strict())
		p := b.phone("alice", "198.51.100.7")
		a := p.register()
		p.renew()
		if p.forgets = forgets; forgets {
			p.engine.Remove(p.sets[0])
		}
		before := len(p.got)
		b.deliver(a, 5)
		b.advance(3 * time.Second) // T1 is 2 s
		by := p.by[before:]
		want := []esp.Ref{p.sets[0], p.sets[1]}
		if forgets {
			want = want[1:]
		}
		if !slices.Equal(by, want) || len(by) == 2 && p.got[before] != p.got[before+1] {
			t.Errorf("given up %v: it came by %v of %v: %q", forgets, by, p.sets, p.got[before:])
		}
	}
}

func TestGm_refresh_without_a_challenge(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	b.trusts = true
	for range 3 {
		b.advance(50 * time.Minute)
		want(t, p.send(0, "REGISTER", p.offer()), 200)
	}
	if !b.door.Alive(a) || b.engine.Len() != 1 {
		t.Errorf("alive %v, %d sets", b.door.Alive(a), b.engine.Len())
	}
	b.advance(2 * time.Hour)
	if b.door.Alive(a) || b.engine.Len() != 0 || len(b.door.users.of) != 0 || len(b.door.users.servers) != 0 {
		t.Errorf("when its registration is over: alive %v, %d sets, %d users", b.door.Alive(a), b.engine.Len(), len(b.door.users.of))
	}
}

func TestGm_refused_answer(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	b.refuses = true
	offer := p.offer()
	p.install(p.sendClear("REGISTER", offer)[0])
	want(t, p.send(0, "REGISTER", offer), 403)
	b.advance(3 * time.Minute)
	if b.engine.Len() != 0 || b.door.Associations() != 0 {
		t.Errorf("%d sets, %d associations are left", b.engine.Len(), b.door.Associations())
	}
}

// TestGm_begins_anew is a client that was switched off and on again: what it had ends when it has proven itself, and not before.
func TestGm_begins_anew(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	off := func() { // and what it had is gone
		for _, ref := range p.sets {
			p.engine.Remove(ref)
		}
	}
	off()
	second := p.register()
	if b.door.Alive(a) || !b.door.Alive(second) || b.engine.Len() != 1 {
		t.Errorf("the old association lives: %v, the new: %v, %d sets", b.door.Alive(a), b.door.Alive(second), b.engine.Len())
	}
	if got := b.gone[a]; len(got) != 1 || got[0] != gm.ReasonReplaced {
		t.Errorf("pushed %v", got)
	}
	for range 8 { // whichever of our ports is next
		off()
		p.register()
	}
}

// TestGm_renewal holds that associations whose numbers run out vouch for no refresh: the next REGISTER is challenged.
func TestGm_renewal(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	b.trusts = true
	record, _ := b.door.lookup(a)
	b.door.Notice(record.sa.sets[current].set.ref, shard.Place(a), esp.NoticeRenew)
	p.renew()
	want(t, p.send(0, "REGISTER", p.offer()), 200)
}
