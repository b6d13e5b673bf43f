package rtpport

import (
	"bytes"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v3"
)

// ICE is the lite half of Interactive Connectivity Establishment (RFC 8445 2.5): the peer checks, we answer. With it a leg goes where the
// peer has shown, by a check that only who has both descriptions can make, that it receives: behind a NAT that is not where its description
// says. What anybody else says about addresses stays nothing.
type ICE struct {
	Ufrag, Password string // ours, as our description says; the password keys the checks
	Remote          string // the peer's ufrag
}

// consentFor is how long a peer is sent media that has said nothing authentic (RFC 7675 5.1). We do not ask for consent, which is the full
// agent's part; we go by what we hear: checks, SRTP, SRTCP.
const consentFor = 30 * time.Second

// checks bounds how many are looked at: a full agent sends some fifty at the beginning, and one in five seconds after that.
var checks = Rate{Packets: 50}

// ice is the state of a leg. All but the atomics are the reader's.
type ice struct {
	chosen bool                           // the peer has nominated a path
	path   atomic.Pointer[netip.AddrPort] // where the peer is; nil before its first check
	heard  atomic.Int64                   // when it last said something authentic, on Config.Clock

	*checked // of a leg with ICE
}

type checked struct {
	username []byte // "ours:theirs" (RFC 8445 7.2.2)
	key      stun.MessageIntegrity
	spent    spent
	in, out  stun.Message
	shown    chan struct{} // closed with the first check
}

// UseICE lets the peer choose its path by checks. Before Start.
func (l *Leg) UseICE(c ICE) {
	l.state.set(byICE)
	l.ice.checked = &checked{username: []byte(c.Ufrag + ":" + c.Remote), key: stun.NewShortTermIntegrity(c.Password), shown: make(chan struct{})}
}

// address is where the peer is: where its description says, or with ICE where it has shown that it receives.
func (l *Leg) address() netip.AddrPort {
	if l.state.is(byICE) {
		if p := l.ice.path.Load(); p != nil {
			return *p
		}
	}
	return l.remote
}

// consents reports whether the peer may be sent media. Without ICE its description says so.
func (l *Leg) consents() bool {
	if !l.state.is(byICE) {
		return true
	}
	return l.ice.path.Load() != nil && l.cfg.Clock.Now()-time.Duration(l.ice.heard.Load()) <= consentFor
}

// authentic notes that the peer has said something that only it can say.
func (l *Leg) authentic(now time.Duration) {
	if l.state.is(byICE) {
		l.ice.heard.Store(int64(now))
	}
}

// stun takes a connectivity check. Its form and the name it gives are compared before its tag is computed, and it changes nothing before that fits.
func (l *Leg) stun(b []byte, from netip.AddrPort) {
	i := &l.ice
	if !l.state.is(byICE) || !stun.IsMessage(b) || !i.spent.take(&checks, l.cfg.Clock.Now(), len(b)) {
		l.counters.drop(DropSTUN)
		return
	}
	m := &i.in
	m.Raw = append(m.Raw[:0], b...)
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		l.counters.drop(DropSTUN)
		return
	}
	if name, err := m.Get(stun.AttrUsername); err != nil || !bytes.Equal(name, i.username) || stun.Fingerprint.Check(m) != nil || i.key.Check(m) != nil {
		l.counters.drop(DropSTUN)
		return
	}
	l.authentic(l.cfg.Clock.Now())
	_, err := m.Get(stun.AttrUseCandidate)
	nominated := err == nil
	if nominated || !i.chosen {
		i.chosen = i.chosen || nominated
		l.follow(from)
	}
	l.acknowledge(m, from)
}

// follow goes where the peer has shown that it receives.
func (l *Leg) follow(from netip.AddrPort) {
	p := l.ice.path.Load()
	if p != nil && *p == from {
		return
	}
	l.ice.path.Store(&from)
	if p == nil {
		close(l.ice.shown)
	}
}

// acknowledge answers a check (RFC 8445 7.3.1.2), to where it came from: to less than it said, and only to who has the password.
func (l *Leg) acknowledge(m *stun.Message, to netip.AddrPort) {
	mapped := stun.XORMappedAddress{IP: net.IP(to.Addr().AsSlice()), Port: int(to.Port())}
	err := l.ice.out.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, &mapped, l.ice.key, stun.Fingerprint)
	if err == nil {
		err = l.wire.write(l.ice.out.Raw, to)
	}
	if err != nil {
		l.counters.SendErrors.Add(1)
	}
}
