package simulation

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"imsafe/imsbox/hss"
	"imsafe/imsbox/scscf"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/store"
	"imsafe/test/lab"
)

// patience is how long a phone that wants to be registered may be without it while its node can promise something.
const patience = 90 * time.Second

// witness compares what nodes promised with what is there. A promise is made when its answer is sent, whether or not
// anybody receives it.
type witness struct {
	r         *run
	pool      *sip.Pool
	accounts  map[string]*account // by public identity
	byAddress map[netip.AddrPort]*phone
	finals    map[transaction]final
	queries   map[string]bool     // branches of REGISTERs without Contact
	calls     map[string]*calling // by Call-ID
	counts    Counts
	violation error
}

// account is what was promised to a user.
type account struct {
	*phone
	// until is when the registration ends that was acknowledged last; 0 if there is none, or its end was acknowledged.
	until time.Duration
	// registering and leaving say that such a REGISTER has left the phone since and that its outcome is not known: what it
	// asked for may have happened.
	registering, leaving bool
	unsure               bool // whether the HSS knows the subscriber: a change failed
	// leftover says that the node ended between the removal of the subscriber and the end of its registration. The record may
	// still be there; nobody may be told of it.
	leftover bool
	addedAt  time.Duration
	lastSeen time.Duration // registered, as far as the phone knows
	used     map[aka.SQN]string
}

// transaction names a server transaction of one life of a node.
type transaction struct {
	node, life  int
	peer        netip.AddrPort
	branch, req string
}

// final is the first final response of a transaction.
type final struct {
	status int
	tag    string
	edge   bool // the edge has sent it without a transaction
}

func newWitness(r *run) *witness {
	return &witness{r: r, pool: sip.NewPool(sip.Limits{}), accounts: map[string]*account{},
		byAddress: map[netip.AddrPort]*phone{}, finals: map[transaction]final{}, queries: map[string]bool{}, calls: map[string]*calling{}}
}

func (w *witness) meet(p *phone) {
	w.accounts[p.impu] = &account{phone: p, used: map[aka.SQN]string{}}
	w.byAddress[p.address] = p
}

// fail notes the first violation; the run ends with it.
func (w *witness) fail(format string, args ...any) {
	if w.violation == nil {
		w.violation = fmt.Errorf(format, args...)
		w.r.note("VIOLATION: %v", w.violation)
	}
}

// sent sees every datagram.
func (w *witness) sent(from, to netip.AddrPort, data []byte) {
	w.counts.Datagrams++
	p, split := w.byAddress[to], w.r.split
	switch inner := split && w.inner(from); {
	case p == nil && !inner:
		return
	default:
		m, err := w.pool.Parse(data)
		if err != nil {
			w.fail("a node sent what does not parse: %v\n%s", err, data)
			return
		}
		defer m.Release()
		if reject := sip.Validate(m); reject != nil {
			w.fail("a node sent what is not valid: %d %s\n%s", reject.Status, reject.Reason, data)
		}
		if m.IsRequest() || m.Status() < 200 {
			return
		}
		first := w.first(m, to)
		// What a split node says to its clients comes some time after the promise, and not always in its order. There the promise
		// is what the core says to the P-CSCF.
		if first && m.CSeqMethod() == sip.REGISTER && split == inner {
			w.answered(m, data)
		}
	}
}

// inner reports whether a is where the core of a split node speaks to its P-CSCF from.
func (w *witness) inner(a netip.AddrPort) bool {
	return slices.ContainsFunc(w.r.w.Nodes, func(n *lab.Node) bool { return n.Inner() == a })
}

// answered: a REGISTER got its final response.
func (w *witness) answered(m *sip.Message, data []byte) {
	identity, _ := sip.PublicIdentity(m.Get(sip.HdrTo))
	a := w.accounts[identity]
	switch {
	case a == nil:
		w.fail("a REGISTER of nobody was answered: %s", data)
	case m.Status() == 401:
		w.challenged(a, m)
	case m.Status() == 200:
		w.promised(a, m)
	}
}

// first reports whether m is the first final response of its transaction, and refuses a second that differs. The 2xx of
// several branches of an INVITE may.
func (w *witness) first(m *sip.Message, to netip.AddrPort) bool {
	via, _ := m.TopVia()
	_, method, _ := m.CSeq()
	node := int(to.Addr().As4()[1])
	key := transaction{node: node, life: w.r.sites[node].life, peer: to, branch: string(via.Branch), req: string(method)}
	now := final{m.Status(), string(m.ToTag()), m.Status() == 423 && madeForAnAddress(m)}
	was, again := w.finals[key]
	if !again {
		w.finals[key] = now
		return true
	}
	fork := now.status/100 == 2 && was.status/100 == 2 && key.req == "INVITE"
	// A stranger is refused without a transaction (RFC 3261 8.2.7). If he has registered by the time his request comes again, it
	// is a new one.
	stranger := was.status == 403 && key.req != "REGISTER"
	switch {
	case stranger:
		w.finals[key] = now
	case was.edge && !now.edge: // nor with one asked to show that he receives: by the time that his request comes again his name may be heard
		w.finals[key] = now
		return true
	case was != now && !fork:
		w.fail("two final responses to one %s of %s (%s): %d tag %s, then %d tag %s", key.req, w.r.nameOf(to), key.branch, was.status, was.tag, now.status, now.tag)
	}
	return false
}

// madeForAnAddress reports whether the interval of a 423 is one that no client asks for by itself, by which it shows that it receives (iface/clientims).
func madeForAnAddress(m *sip.Message) bool {
	seconds, err := strconv.ParseUint(string(m.Get(sip.HdrMinExpires)), 10, 32)
	return err == nil && seconds >= 1<<20
}

// challenged: no sequence number is ever used twice for a card (TS 33.102 6.3).
func (w *witness) challenged(a *account, m *sip.Message) {
	w.counts.Challenges++
	challenge, err := sip.ParseChallenge(m.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		w.fail("%s: challenge does not parse: %v", a.name, err)
		return
	}
	nonce, err := aka.ParseNonce(challenge.Nonce)
	if err != nil {
		w.fail("%s: %v", a.name, err)
		return
	}
	opened, err := aka.Open(a.card, nonce.RAND, nonce.AUTN)
	if err != nil {
		return // the phone says whether it may be so
	}
	if was, used := a.used[opened.SQN]; used && was != string(challenge.Nonce) {
		w.fail("%s: SEQ %d of IND %d was used twice", a.name, opened.SQN.SEQ(), opened.SQN.IND())
	}
	a.used[opened.SQN] = string(challenge.Nonce)
}

// promised: a 200 to REGISTER says what is registered now.
func (w *witness) promised(a *account, m *sip.Message) {
	now := w.r.w.Clock.Now()
	until := time.Duration(0)
	for i := range m.Count(sip.HdrContact) {
		seconds, given := m.ContactExpires(i)
		if !given {
			w.fail("%s: a contact without expires in a 200", a.name)
		}
		until = max(until, now+time.Duration(seconds)*time.Second)
	}
	if until > 0 && !a.provisioned && !a.unsure {
		w.fail("%s was removed and is registered", a.name)
	}
	switch {
	case w.asked(m):
		w.counts.Asked++
	case until > 0:
		w.counts.Registered++
	default:
		w.counts.Deregistered++
	}
	if w.asked(m) {
		// It says what is committed. A change that was refused because the disk failed may still come to light.
		if was := a.until > now+time.Second; was != (until > 0) && !a.registering && !a.leaving {
			w.fail("%s asked and heard of a registration until %v; %v was acknowledged", a.name, until, a.until)
		}
		return
	}
	a.until, a.registering, a.leaving = until, false, false
	s := w.r.sites[a.node.Number()]
	w.lookAtUser(s, a)
	if trap := s.trap; trap != nil {
		s.trap = nil
		trap()
	}
}

// asks: a REGISTER without Contact leaves a phone.
func (w *witness) asks(m *sip.Message) {
	via, _ := m.TopVia()
	w.queries[string(via.Branch)] = true
}

// asked reports whether m answers a REGISTER without Contact, which changes nothing.
func (w *witness) asked(m *sip.Message) bool {
	via, _ := sip.ParseVia(m.Last(sip.HdrVia)) // the phone's
	return w.queries[string(via.Branch)]
}

// attempt: an authenticated REGISTER leaves a phone.
func (w *witness) attempt(p *phone, seconds int) {
	a := w.accounts[p.impu]
	a.registering = a.registering || seconds > 0
	a.leaving = a.leaving || seconds == 0
}

// refused counts the failures that phones hear of.
func (w *witness) refused(p *phone, status int) {
	w.counts.Refused++
	s := w.r.sites[p.node.Number()]
	healthy := s.Up() && !s.failing && s.Store.Failure() == nil
	if healthy && p.provisioned && status >= 500 && status != 503 {
		w.fail("%s: a sound node refuses with %d", p.name, status)
	}
}

// denied: a card that does not know the network has been challenged for nobody. That is so only while its subscriber is not there.
func (w *witness) denied(p *phone, err error) {
	w.counts.Refused++
	if a := w.accounts[p.impu]; p.provisioned && !a.unsure && w.r.w.Clock.Now() > a.addedAt+timerB {
		w.fail("%s: the network is not genuine: %v", p.name, err)
	}
}

// removing, removed and added: the operator's changes.
func (w *witness) removing(p *phone) { w.accounts[p.impu].unsure = true }

func (w *witness) removed(p *phone, err error) {
	a := w.accounts[p.impu]
	if err != nil {
		a.leaving = true
		w.failing(p, "remove", err)
		return
	}
	p.provisioned, a.unsure = false, false
	a.until, a.registering, a.leaving = 0, false, false
	w.lookAtUser(w.r.sites[p.node.Number()], a)
}

func (w *witness) added(p *phone, err error) {
	a := w.accounts[p.impu]
	if err != nil {
		a.unsure = true
		w.failing(p, "add", err)
		return
	}
	p.provisioned, a.unsure, a.addedAt = true, false, w.r.w.Clock.Now()
}

// failing: a change may be refused by a node whose disk fails, and by no other.
func (w *witness) failing(p *phone, what string, err error) {
	var push *hss.PushError
	if !p.node.Up() {
		return
	}
	if p.node.Store.Failure() == nil || errors.As(err, &push) {
		w.fail("%s: %s: %v", p.name, what, err)
	}
}

// look looks at everything that was promised.
func (w *witness) look() {
	for _, s := range w.r.sites {
		if !s.Up() || s.failing || s.Store.Failure() != nil || w.r.w.Clock.Now() < s.stalled {
			s.since = w.r.w.Clock.Now()
		}
		w.lookAt(s)
	}
	w.counts.Probes++
}

func (w *witness) lookAt(s *site) {
	if !s.Up() {
		return
	}
	for _, core := range s.Cores() {
		for _, sh := range core.Shards {
			if n := sh.Stats().Panics; n > 0 {
				w.fail("node%d: %d procedures panicked", s.Number(), n)
			}
		}
	}
	for _, p := range w.r.phones {
		if p.node == s.Node {
			a := w.accounts[p.impu]
			w.lookAtUser(s, a)
			w.lookAtLife(s, a)
		}
	}
}

// lookAtUser compares the promises to a user with the records.
func (w *witness) lookAtUser(s *site, a *account) {
	if !s.Up() {
		return
	}
	_, err := s.Store.Get(hss.TableSubscription, []byte(a.impi))
	known := err == nil
	switch {
	case a.unsure:
		if s.since == w.r.w.Clock.Now() && !s.failing { // after a restart what is there is what counts
			a.unsure, a.addedAt = false, s.since
			if a.provisioned = known; !known {
				a.until, a.registering, a.leaving, a.leftover = 0, false, false, true
			}
		}
		return
	case known && !a.provisioned:
		w.fail("%s was removed from the HSS and is back", a.name)
	case !known && a.provisioned:
		w.fail("%s was added to the HSS and is lost", a.name)
	}
	now := w.r.w.Clock.Now()
	rec, err := s.Store.Get(scscf.TableRegistration, []byte(a.impi))
	a.leftover = a.leftover && err == nil && a.until == 0
	until := time.Duration(0)
	if err == nil && !a.leftover && bytes.Contains(rec.Value, []byte(a.contact())) {
		until = now + time.UnixMilli(rec.Expires).Sub(w.r.w.Clock.Wall())
	}
	promised := a.until > now+time.Second
	switch {
	case promised && until <= now && !a.leaving:
		w.fail("%s: the registration until %v was acknowledged and is lost (record: %v)", a.name, a.until, err)
	case a.until <= now && until > now+time.Second && !a.registering:
		w.fail("%s: a registration until %v is back, the last that was acknowledged ended at %v", a.name, until, a.until)
	case promised && until > now && !a.registering && (until > a.until+time.Second || until < a.until-1100*time.Millisecond):
		w.fail("%s: registered until %v, but %v was acknowledged", a.name, until, a.until)
	}
}

// lookAtLife: who keeps trying succeeds.
func (w *witness) lookAtLife(s *site, a *account) {
	now := w.r.w.Clock.Now()
	if a.registered() || !a.wanted || !a.provisioned || a.unsure {
		a.lastSeen = now
	}
	if from := max(a.lastSeen, a.since, a.addedAt, s.since); now-from > patience && w.r.phase != silent {
		w.fail("%s wants to be registered since %v and is not", a.name, from)
	}
}

// records counts the registrations in the store of a node.
func (w *witness) records(n *lab.Node) int {
	total := 0
	for _, table := range []store.Table{scscf.TableRegistration, scscf.TableIdentity} {
		records, _, err := n.Store.Scan(table, nil, nil, 1000)
		if err != nil {
			w.fail("node%d: scan: %v", n.Number(), err)
		}
		total += len(records)
	}
	return total
}
