package node

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/config"
	"imsafe/hop"
	hopnode "imsafe/hop/node"
	"imsafe/iface/clientims"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/gm"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/isc"
	"imsafe/secure"
	"imsafe/trace/ladder"
)

// Tape draws the ladders of the last calls and registrations while they happen: it is told of every message between functions, of what the door turns
// away, of what is asked of the HSS and of media, and of every refusal. Keys, bodies, parameters and tokens are not on it. A node without one pays
// for nothing. Safe for concurrent use.
type Tape struct {
	ring  *ladder.Ring
	clock shard.Clock
	named names
	local Roles        // functions of this process; the others are reached over a wire
	wire  ladder.Cover // of that
	door  func() *clientims.Door
	rests atomic.Bool  // it draws nothing now
	until atomic.Int64 // the end of a second, in nanoseconds of the monotonic clock
	spent atomic.Int64 // what was drawn in it

	mu    sync.Mutex
	under map[*shard.Task]*procedure    // procedures under way
	first map[uint64]secure.Association // by story: its first client
	asked map[uint64]bool               // stories whose client was challenged
	media map[iq.Session]uint64         // stories, by session of the anchor
	early []early                       // refusals that came before their message
}

// procedure is a coroutine with messages in its hands: the requests that it has had and not answered, the last of them on top.
type procedure struct {
	open []uint64
	who  []string // names by which events may mean it
}

func (p *procedure) means(name string) bool { return slices.Contains(p.who, name) }

func (p *procedure) top() ladder.Mark { return markOf(p.open[len(p.open)-1]) }

// early is a refusal that no procedure under way is meant by: the door's, which comes before the message is on the tape.
type early struct {
	event secure.Event
	at    time.Duration
}

// The checks that a message has passed when it is where it is. Refusals come by the gate, with their control; of what passes the gate is not told.
const (
	passedAKA     = "ci.authentication.aka"
	passedESP     = "ci.integrity.esp"
	passedPort    = "ci.authorization.protected-port"
	passedService = "is.authentication.mtls"
	passedNode    = "core.authentication.mtls"
)

// The bounds of what is kept beside the ring.
const (
	maxUnder  = 4096
	maxEarly  = 16
	earlyFor  = 20 * time.Millisecond
	maxFirsts = 256
	// maxDrawn bounds what is drawn in a second: a flood finds little of it on the ladders, and costs a few per cent of one processor.
	maxDrawn = 2000
)

var (
	_ hop.Witness     = (*Tape)(nil)
	_ clientims.Watch = (*Tape)(nil)
	_ secure.Sink     = (*Tape)(nil)
)

// NewTape makes a tape for the functions of a home domain (of the node called so, see World.Name): those of this process, and others over a wire with that cover. door is asked what protects a client; it may return nil.
func NewTape(ring *ladder.Ring, clock shard.Clock, domain, node string, local Roles, wire ladder.Cover, door func() *clientims.Door) *Tape {
	return &Tape{ring: ring, clock: clock, named: namesOf(domain, node), local: local, wire: wire, door: door, under: map[*shard.Task]*procedure{}, first: map[uint64]secure.Association{},
		asked: map[uint64]bool{}, media: map[iq.Session]uint64{}}
}

// may reports whether there is something to be drawn, and room for it.
func (t *Tape) may() bool {
	if t.rests.Load() {
		return false
	}
	if now := int64(t.clock.Now()); now >= t.until.Load() {
		t.until.Store(now + int64(time.Second))
		t.spent.Store(0)
	}
	return t.spent.Add(1) <= maxDrawn
}

// watch is the tape as the door knows it; nil without one.
func (t *Tape) watch() clientims.Watch {
	if t == nil {
		return nil
	}
	return t
}

// seen packs a mark into what hop carries; 0 names none.
func seen(m ladder.Mark) uint64 { return m.Story<<8 | uint64(uint8(m.Arrow)) }

func markOf(seen uint64) ladder.Mark {
	return ladder.Mark{Story: seen >> 8, Arrow: int(int8(uint8(seen)))}
}

// Sent implements hop.Witness.
func (t *Tape) Sent(task *shard.Task, from, to hop.Name, in hop.Inbound) uint64 {
	if !t.may() {
		return 0
	}
	m := in.Msg
	a := ladder.Arrow{At: t.clock.Wall(), From: t.party(from, in.Proof), To: t.party(to, secure.Proof{}), What: string(m.MethodName()), Cover: t.cover(from, to, &in),
		Sender: sender(in.Proof), Lines: lines(m), Checks: entered(from, m, in.Proof)}
	who := t.who(m, in.Proof)
	at := t.ring.Add(string(m.Get(sip.HdrCallID)), a, who...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turnPeer(at, from, to, &in)
	under := t.under[task]
	if under == nil && len(t.under) < maxUnder {
		under = &procedure{}
		t.under[task] = under
	}
	if under != nil {
		under.open, under.who = append(under.open, seen(at)), append(append(under.who[:0], proven(in.Proof)...), who...)
	}
	if from == gm.Name || from == isc.Name {
		t.claim(at, in.Proof)
	}
	return seen(at)
}

// turnPeer puts another client than the first of a story into a column of its own. With the lock.
func (t *Tape) turnPeer(at ladder.Mark, from, to hop.Name, in *hop.Inbound) {
	client := in.Client
	if from == gm.Name {
		client = in.Proof.Association()
	} else if to != gm.Name {
		return
	}
	if _, known := t.first[at.Story]; !known {
		if len(t.first) >= maxFirsts {
			clear(t.first) // their stories have gone from the ring long since
		}
		t.first[at.Story] = client
	}
	if t.first[at.Story] != client {
		t.ring.Turn(at, ladder.UE, ladder.Peer)
	}
}

// Answered implements hop.Witness.
func (t *Tape) Answered(task *shard.Task, request uint64, m *sip.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m == nil || m.Status() >= 200 {
		t.close(task, request)
	}
	if m == nil {
		return
	}
	at := t.ring.Answer(markOf(request), ladder.Arrow{At: t.clock.Wall(), What: statusLine(m.Status(), m.Reason()), Status: m.Status(), Lines: lines(m)})
	if m.CSeqMethod() != sip.REGISTER || t.ring.From(at) != ladder.SCSCF {
		return
	}
	switch { // TS 24.229 5.4.1.2.2: the answer to a challenge that was given
	case m.Status() == 401:
		if len(t.asked) >= maxFirsts {
			clear(t.asked)
		}
		t.asked[at.Story] = true
	case m.Status() == 200 && t.asked[at.Story]:
		delete(t.asked, at.Story)
		t.ring.Check(at, ladder.Check{Control: passedAKA, Reason: "the answer to the challenge was right", Did: ladder.Passed})
	}
}

// close takes a request out of the hands of its procedure. With the lock.
func (t *Tape) close(task *shard.Task, request uint64) {
	under := t.under[task]
	if under == nil {
		return
	}
	if i := slices.Index(under.open, request); i >= 0 {
		under.open = under.open[:i]
	}
	if len(under.open) == 0 {
		delete(t.under, task)
	}
}

func statusLine(status int, reason []byte) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + string(reason))
}

// party is the column of a name.
func (t *Tape) party(name hop.Name, proof secure.Proof) ladder.Party {
	if name == hopnode.Name {
		name = hop.Name(proof.Peer())
	}
	switch name {
	case gm.Name:
		return ladder.UE
	case isc.Name:
		return ladder.AS
	case t.named.pcscf:
		return ladder.PCSCF
	case t.named.icscf, t.named.home:
		return ladder.ICSCF
	case t.named.scscf:
		return ladder.SCSCF
	}
	return ladder.Node
}

// cover is what protects a request on its way over this hop.
func (t *Tape) cover(from, to hop.Name, in *hop.Inbound) ladder.Cover {
	switch in.Proof.Kind() {
	case secure.KindAccess:
		if from == gm.Name {
			return coverOf(in.Proof.Profile(), in.Proof.Generation() != secure.GenerationNone)
		}
	case secure.KindService:
		if from == isc.Name {
			return ladder.MTLS
		}
	case secure.KindNode:
		if from == hopnode.Name {
			return t.wire
		}
	}
	switch to {
	case gm.Name:
		if d := t.door(); d != nil {
			if profile, sealed, known := d.Cover(in.Client); known {
				return coverOf(profile, sealed)
			}
		}
		return ladder.Unknown
	case isc.Name:
		return ladder.MTLS
	}
	if !t.local.Has(t.role(to)) {
		return t.wire
	}
	return ladder.Process
}

// wireCover is what protects SIP between the nodes of a configuration.
func wireCover(c *config.Config) ladder.Cover {
	if c.Mw.Clear {
		return ladder.Clear
	}
	return ladder.MTLS
}

// role is the function with a name.
func (t *Tape) role(name hop.Name) Role {
	switch name {
	case t.named.pcscf:
		return RolePCSCF
	case t.named.scscf:
		return RoleSCSCF
	}
	return RoleICSCF
}

func coverOf(profile string, sealed bool) ladder.Cover {
	switch {
	case sealed:
		return ladder.ESP
	case profile == "tls":
		return ladder.TLS
	}
	return ladder.Clear
}

// sender says what was proven about who sent a request.
func sender(p secure.Proof) string {
	switch {
	case p.Kind() == secure.KindAccess && p.Registered():
		return "registered as " + p.DefaultIMPU() + ", by its association"
	case p.Kind() == secure.KindAccess && p.IMPI() != "":
		return "authenticated as " + p.IMPI() + ", by its association"
	case p.Kind() == secure.KindAccess && p.Claimed() != "":
		return "a client whose security associations were made for " + p.Claimed()
	case p.Kind() == secure.KindAccess:
		return "a client that has proven nothing yet"
	case p.Kind() == secure.KindNone:
		return ""
	}
	return p.Kind().String() + " " + p.Peer()
}

// entered are the checks that a request has passed at the door it came in by.
func entered(from hop.Name, m *sip.Message, p secure.Proof) (all []ladder.Check) {
	passed := func(control, why string) {
		all = append(all, ladder.Check{Control: control, Reason: why, Did: ladder.Passed})
	}
	if from != gm.Name && from != isc.Name && from != hopnode.Name {
		return nil
	}
	switch p.Kind() {
	case secure.KindAccess:
		if p.Generation() != secure.GenerationNone {
			passed(passedESP, "the packet was sealed with the keys of the association")
		}
		if m.Method() != sip.REGISTER && p.Registered() {
			passed(passedPort, "registered")
		}
	case secure.KindService:
		passed(passedService, p.Peer())
	case secure.KindNode:
		passed(passedNode, p.Peer())
	}
	return all
}

// proven are the private names by which events may mean whoever a proof is of.
func proven(p secure.Proof) (all []string) {
	for _, name := range []string{p.IMPI(), p.Claimed(), p.Peer()} {
		if name != "" {
			all = append(all, name)
		}
	}
	return append(all, p.IMPUs()...)
}

// who takes part in a message: public identities, and the private one of a REGISTER.
func (t *Tape) who(m *sip.Message, p secure.Proof) (all []string) {
	if impu := p.DefaultIMPU(); impu != "" {
		all = append(all, impu)
	}
	for _, h := range []sip.HeaderID{sip.HdrPAssertedIdentity, sip.HdrFrom, sip.HdrTo} {
		if identity, ok := sip.PublicIdentity(m.Get(h)); ok && !slices.Contains(all, identity) {
			all = append(all, identity)
		}
	}
	if c, err := m.Credentials(0); err == nil {
		all = append(all, string(c.Username))
	}
	return all
}

// Turned implements clientims.Watch: an arrow that ends at the door.
func (t *Tape) Turned(profile string, sealed bool, source netip.Addr, m *sip.Message, status int) {
	if !t.may() {
		return
	}
	cover := coverOf(profile, sealed)
	at := t.ring.Add(string(m.Get(sip.HdrCallID)), ladder.Arrow{At: t.clock.Wall(), From: ladder.UE, To: ladder.PCSCF, What: string(m.MethodName()), Cover: cover,
		Sender: "from " + source.String(), Lines: lines(m)}, t.who(m, secure.Proof{})...)
	t.mu.Lock()
	t.claimFrom(at, source)
	t.mu.Unlock()
	if status > 0 {
		t.ring.Answer(at, ladder.Arrow{At: t.clock.Wall(), What: statusLine(status, []byte(sip.ReasonPhrase(status))), Status: status})
	}
}

// Refused implements secure.Sink: it finds the message that an event is about. It is the one that the procedure has in its hands that the event names,
// or else the only one under way; a refusal at the door comes just before its message.
func (t *Tape) Refused(e secure.Event) {
	if !t.may() || e.Control.Local() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var found ladder.Mark
	for _, p := range t.under {
		if e.Subject != "" && p.means(e.Subject) || e.Subject == "" && !e.Source.IsValid() && len(t.under) == 1 {
			if at := p.top(); at.Story > found.Story {
				found = at
			}
		}
	}
	if found.Story != 0 {
		t.ring.Check(found, check(e))
		return
	}
	if len(t.early) == maxEarly {
		t.early = slices.Delete(t.early, 0, 1)
	}
	t.early = append(t.early, early{e, t.clock.Now()})
}

func check(e secure.Event) ladder.Check {
	did := ladder.Refused
	if !e.Enforced {
		did = ladder.LetPass
	}
	return ladder.Check{Control: e.Control.String(), Reason: e.Reason, Did: did}
}

// claim notes at a message what was refused of it before it came on the tape. With the lock.
func (t *Tape) claim(at ladder.Mark, p secure.Proof) {
	t.take(at, func(e *secure.Event) bool { return e.Subject == "" || slices.Contains(proven(p), e.Subject) })
}

func (t *Tape) claimFrom(at ladder.Mark, source netip.Addr) {
	t.take(at, func(e *secure.Event) bool { return !e.Source.IsValid() || e.Source.Unmap() == source })
}

func (t *Tape) take(at ladder.Mark, belongs func(*secure.Event) bool) {
	now := t.clock.Now()
	t.early = slices.DeleteFunc(t.early, func(e early) bool {
		if now-e.at > earlyFor {
			return true
		}
		if !belongs(&e.event) {
			return false
		}
		t.ring.Check(at, check(e.event))
		return true
	})
}
