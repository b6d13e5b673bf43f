package clientims

import (
	"errors"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/refpoint/gm"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// Install implements gm.Door. Where the path is a TLS connection, or a lab path, the keys have no use and nothing is announced.
func (d *Door) Install(ref secure.Association, ck aka.CK, ik aka.IK, done func([]string, error)) {
	g, s, err := d.install(ref, ck, ik)
	if err != nil || s == nil {
		done(nil, err)
		return
	}
	slow, waits := g.Engine.(Slow)
	if !waits {
		done(announcement(s), nil)
		return
	}
	slow.Standing(s.ref, func(err error) {
		if err != nil {
			d.tableOf(ref).abandon(ref, s)
			done(nil, refusal(err))
			return
		}
		done(announcement(s), nil)
	})
}

// install makes the set of a challenge and takes it in. It is nil where there is none.
func (d *Door) install(ref secure.Association, ck aka.CK, ik aka.IK) (*Gm, *set, error) {
	a, alive := d.lookup(ref)
	switch {
	case !alive:
		return nil, nil, gm.ErrGone
	case a.access.gm == nil:
		return nil, nil, nil
	case a.sa == nil || a.sa.offer == nil:
		return nil, nil, gm.ErrNoOffer
	}
	if unfinished := a.sa.sets[fresh].set; unfinished != nil { // it may have the ports that the client offers now (TS 33.203 6.1.2.3)
		d.tableOf(ref).abandon(ref, unfinished)
		a, _ = d.lookup(ref)
	}
	s, err := a.access.gm.install(&a, ck, ik)
	if err != nil {
		return nil, nil, err
	}
	replaced, standing, free := d.users.claim(a.sa.offer.user, ref, s.client, d.budgets.waits(a.sa.offer.user, d.tableOf(ref).now()))
	if !free || !d.tableOf(ref).installed(ref, s, a.sa.offer.said, d.cfg.AwaitAuth) {
		a.access.gm.Engine.Remove(s.ref)
		return nil, nil, gm.ErrPorts
	}
	for _, other := range append(replaced, d.endedBy(standing)...) {
		d.end(other, gm.ReasonReplaced)
	}
	return a.access.gm, s, nil
}

// Address implements gm.Door: it is that of the protected server port (TS 24.229 5.2.6.3.3).
func (d *Door) Address(ref secure.Association) string {
	if a, alive := d.lookup(ref); alive && a.sa != nil {
		return a.sa.gm.sealed.SentBy
	}
	return ""
}

// Confidential implements gm.Door.
func (d *Door) Confidential(ref secure.Association) bool {
	a, alive := d.lookup(ref)
	if !alive || !a.access.Protected || a.sa == nil {
		return alive && a.access.Protected
	}
	for _, s := range a.sa.sets {
		if s.set != nil && !s.set.choice.Encrypts() {
			return false
		}
	}
	return true
}

// endedBy is the enforcement point of "a stranger's REGISTER ends no associations": those that a name has proven stand until the new ones are
// proven too (TS 33.203 6.1.2.3, 7.4).
func (d *Door) endedBy(standing []secure.Association) []secure.Association {
	if len(standing) == 0 || d.ports.Gate.Refuse(secure.CIAvailabilitySACap, secure.Event{Reason: "unproven"}) {
		return nil
	}
	return standing
}

// install makes the four associations of a challenge, all or none (TS 33.203 7.2): with our SPIs, a client port that none of the others
// has, and the keys.
func (g *Gm) install(a *association, ck aka.CK, ik aka.IK) (*set, error) {
	o := a.sa.offer
	spi, err := g.Engine.Reserve(g.Local, o.there.SPIC, o.there.SPIS)
	if err != nil {
		return nil, gm.ErrFull
	}
	client := addrPort(o.peer, o.there.PortS)
	s := &set{owner: a.ref, carrier: g.carrier[byTransport], profile: o.profile, choice: o.choice,
		here:  secagree.Endpoint{SPIC: spi[esp.Client], SPIS: spi[esp.Server], PortC: g.clientPort(client), PortS: g.ServerPort},
		there: o.there, local: addrPort(g.Local, g.ServerPort), client: client}
	if o.choice.Mode == secagree.UDPTunnel {
		s.carrier = g.carrier[byTunnel]
	}
	transform, sound := esp.TransformOf(o.choice.Alg, o.choice.EAlg)
	if !sound {
		g.Engine.Release(g.Local, spi)
		return nil, gm.ErrNoOffer
	}
	s.ref, err = g.Engine.Install(&esp.Agreement{Role: esp.PCSCF, Owner: placeOf(a.ref), Local: g.Local, Peer: o.peer, Here: ends(s.here),
		There: ends(o.there), Transform: transform, CK: ck, IK: ik, Life: g.door.cfg.AwaitAuth, AllowWithdrawn: o.choice.Withdrawn(),
		Tunnel: o.choice.Mode == secagree.UDPTunnel})
	if err == nil {
		return s, nil
	}
	g.Engine.Release(g.Local, spi)
	return nil, refusal(err)
}

// refusal is why an engine does not make associations, in the words of gm: the client may offer others, or come again later, or has done so already.
func refusal(err error) error {
	if errors.Is(err, esp.ErrGone) {
		return gm.ErrGone
	}
	if errors.Is(err, esp.ErrPortsInUse) || errors.Is(err, esp.ErrSPI) {
		return gm.ErrPorts
	}
	return gm.ErrFull
}

// announcement is the Security-Server of a set, one value for each mechanism.
func announcement(s *set) []string {
	var space [4]secagree.Entry
	var line [256]byte
	server := s.securityServer(space[:0])
	lines := make([]string, len(server))
	for i := range server {
		lines[i] = string(server[i].AppendTo(line[:0]))
	}
	return lines
}

// offered notes what the client of ref wants. It waits for the challenge.
func (t *associations) offered(ref secure.Association, g *Gm, o *offer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.find(ref)
	if a == nil {
		return
	}
	sa := security{gm: g, user: o.user}
	if a.sa != nil {
		sa = *a.sa
	} else if mint.Over(a.proof, secure.GenerationNew).Claimed() != o.user.impi {
		a.mint(a.proof.IMPI(), a.proof.IMPUs(), o.user.impi) // it was opened for an emergency
	}
	sa.offer = o
	if o.resync && sa.sets[fresh].set != nil {
		sa.sets[fresh].spent = true // the client answered its challenge after all, from outside (TS 33.203 7.3.1.3)
	}
	a.sa = &sa
}

// installed puts the set of a challenge in place, for life. It answers what the client has said.
func (t *associations) installed(ref secure.Association, s *set, said secagree.Said, life time.Duration) bool {
	return t.change(ref, func(a *association, sa *security) {
		sa.said, sa.offer = said, nil
		sa.sets[fresh] = installed{set: s, until: t.now() + life}
		a.until = max(a.until, t.now()+life)
	})
}

// change changes an association of ipsec-3gpp. It reports whether there is one.
func (t *associations) change(ref secure.Association, f func(*association, *security)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.find(ref)
	if a == nil || a.sa == nil {
		return false
	}
	sa := *a.sa
	f(a, &sa)
	a.sa = &sa
	return true
}

// distrust keeps a set from vouching for a REGISTER: it has to be renewed.
func (t *associations) distrust(ref secure.Association, which esp.Ref) {
	t.change(ref, func(_ *association, sa *security) {
		if g := sa.find(which); g >= 0 {
			sa.sets[g].spent = true
		}
	})
}

// failed keeps a set whose REGISTER was refused until the answer has left and been repeated (TS 33.203 7.3.1.1).
func (t *associations) failed(ref secure.Association, which *set, after time.Duration) {
	t.change(ref, func(a *association, sa *security) {
		if sa.sets[fresh].set == which {
			sa.sets[fresh].spent, sa.sets[fresh].until = true, t.now()+after
			if !a.proof.Registered() {
				a.until = t.now() + after
			}
		}
	})
}

// lastWord is how long the associations of an attempt that was aborted stay, so that the answer arrives over a connection too.
const lastWord = 5 * time.Second

// abort gives the unfinished set up for which something was wrong: nothing that comes over it is heard any more.
func (t *associations) abort(ref secure.Association, which *set) {
	t.change(ref, func(a *association, sa *security) {
		if sa.sets[fresh].set == which {
			sa.sets[fresh].dead, sa.sets[fresh].until = true, t.now()+lastWord
			if !a.proof.Registered() {
				a.until = t.now() + lastWord
			}
		}
	})
}

// abandon gives the unfinished set up at once.
func (t *associations) abandon(ref secure.Association, which *set) {
	t.change(ref, func(_ *association, sa *security) {
		if sa.sets[fresh].set == which {
			sa.drop(fresh)
		}
	})
}

// taken notes that the client has used its current set: requests leave the former one.
func (t *associations) taken(ref secure.Association) {
	t.change(ref, func(_ *association, sa *security) { sa.switchAt = 0 })
}

// cameBy notes whether the client's last REGISTER came over a connection.
func (t *associations) cameBy(ref secure.Association, stream bool) {
	if a, known := t.get(ref); known && a.sa.byStream != stream {
		t.change(ref, func(_ *association, sa *security) { sa.byStream = stream })
	}
}

// promoted lets the unfinished set become the current one and the current one the former, or lengthens the life of the current one if
// the network took the REGISTER without a challenge (TS 33.203 7.4). A life is never shortened.
func (sa *security) promoted(now, life time.Duration) {
	sa.offer = nil
	until := max(sa.sets[current].until, now+life)
	if f := &sa.sets[fresh]; f.set != nil && !f.spent && !f.dead {
		sa.drop(former)
		sa.sets[former], sa.sets[current], sa.sets[fresh], sa.said = sa.sets[current], sa.sets[fresh], installed{}, ""
		if old := &sa.sets[former]; old.set != nil {
			old.until = min(old.until, now+sa.gm.oldFor())
			sa.switchAt = now + switchAfter
		}
	}
	if c := &sa.sets[current]; c.set != nil {
		c.until = until
		sa.gm.Engine.Extend(c.set.ref, until-now)
	}
}
