package pcscf

import (
	"hash/maphash"
	"strconv"
	"sync"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// The media of a client's calls go through the anchor (IMS-ALG, TS 23.334; docs/decisions/028): each description that passes here is written
// anew for the other side, with a port and keys of the anchor. What was reserved goes back when the call is over, however it ends.

// callKey names a call of a client: half tells apart the two halves of one that calls himself.
type callKey struct {
	client      secure.Association
	caller      bool
	callID, tag string // tag is the caller's
}

// call is one call of a client whose media are anchored.
type call struct {
	p        *PCSCF
	key      callKey
	user     string // whose ports they are: the client's default identity
	family   iq.Family
	urgent   bool // an emergency call: it is refused for nothing that its media lack
	exempt   bool // its media are left alone
	walking  int  // INVITEs under way; guarded by the table of calls
	standing floor

	mu        sync.Mutex
	session   iq.Session // 0 before the first offer
	media     []medium
	carrier   int        // 1 + the index of the medium on whose transport the client's are together; 0: each has its own
	written   [2]written // by side
	due       map[string]*exchange
	epoch     int    // of the latest offer
	confirmed string // tag of the called party whose answer stands
	lost      bool
	over      bool
}

// calls are those under way. Safe for concurrent use.
type calls struct {
	mu    sync.Mutex
	byKey map[callKey]*call
	named map[iq.Session]*call
	of    map[secure.Association]map[*call]struct{}
	seed  maphash.Seed
}

func newCalls() *calls {
	return &calls{byKey: map[callKey]*call{}, named: map[iq.Session]*call{}, of: map[secure.Association]map[*call]struct{}{}, seed: maphash.MakeSeed()}
}

// Anchored is how many calls have media at the anchor, or could have.
func (p *PCSCF) Anchored() int {
	p.calls.mu.Lock()
	defer p.calls.mu.Unlock()
	return len(p.calls.byKey)
}

// begin takes down a call that an INVITE begins; nil where media are not anchored. A call that is there already is a repetition.
func (p *PCSCF) begin(in hop.Inbound, client secure.Association, caller, urgent bool) *call {
	if p.ports.Iq == nil || in.Msg.Method() != sip.INVITE {
		return nil
	}
	k := callKey{client, caller, string(in.Msg.Get(sip.HdrCallID)), string(in.Msg.FromTag())}
	c := &call{p: p, key: k, urgent: urgent, exempt: urgent && !p.emergenciesAtHome(), user: p.userOf(client), family: p.familyOf(client), standing: p.floorOf(client), due: map[string]*exchange{}}
	t := p.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	if standing := t.byKey[k]; standing != nil {
		standing.walking++
		return standing
	}
	c.walking = 1
	t.byKey[k] = c
	if t.of[client] == nil {
		t.of[client] = map[*call]struct{}{}
	}
	t.of[client][c] = struct{}{}
	return c
}

// within finds the call of a request inside a dialog, which comes from a side.
func (p *PCSCF) within(in hop.Inbound, client secure.Association, from iq.Side) *call {
	k := callKey{client, from == iq.Access, string(in.Msg.Get(sip.HdrCallID)), string(in.Msg.FromTag())}
	turned := callKey{client, !k.caller, k.callID, string(in.Msg.ToTag())}
	p.calls.mu.Lock()
	defer p.calls.mu.Unlock()
	if c := p.calls.byKey[k]; c != nil {
		return c
	}
	return p.calls.byKey[turned]
}

// branch names the far end with a tag: of the called party, where the client calls; of the caller there is one.
func (c *call) branch(tag string) iq.Branch {
	if !c.key.caller {
		return 1
	}
	return iq.Branch(maphash.String(c.p.calls.seed, tag) | 1)
}

// name takes down by which name the anchor knows the call.
func (c *call) name(s iq.Session) {
	c.session = s
	c.p.calls.mu.Lock()
	c.p.calls.named[s] = c
	c.p.calls.mu.Unlock()
}

// release ends the call's media. Twice is harmless.
func (c *call) release() {
	if c == nil {
		return
	}
	c.mu.Lock()
	session, over := c.session, c.over
	c.over = true
	c.mu.Unlock()
	if over {
		return
	}
	t := c.p.calls
	t.mu.Lock()
	delete(t.byKey, c.key)
	delete(t.named, session)
	delete(t.of[c.key.client], c)
	if len(t.of[c.key.client]) == 0 {
		delete(t.of, c.key.client)
	}
	t.mu.Unlock()
	if session != 0 {
		c.p.ports.Iq.Release(session)
	}
}

// hungUp takes down the answer to a BYE. Whatever it is, who has sent the BYE listens no more (RFC 3261 15.1.1), and has been charged for the last time: media that
// went on would be free. One who is asked for a proof sends it again; one for another branch than that which stands ends nothing.
func (c *call) hungUp(callee string, r hop.Reply) {
	if status := r.Status(); status == 401 || status == 407 {
		return
	}
	c.mu.Lock()
	standing := c.exempt || c.confirmed == callee
	c.mu.Unlock()
	if standing {
		c.release()
	}
}

// walked takes down that an INVITE of the call is over, and reports whether it was the last under way.
func (c *call) walked() bool {
	c.p.calls.mu.Lock()
	defer c.p.calls.mu.Unlock()
	c.walking--
	return c.walking == 0
}

// releaseMedia ends the media of all calls of a client that is gone.
func (p *PCSCF) releaseMedia(client secure.Association) {
	p.calls.mu.Lock()
	all := make([]*call, 0, len(p.calls.of[client]))
	for c := range p.calls.of[client] {
		all = append(all, c)
	}
	p.calls.mu.Unlock()
	for _, c := range all {
		c.release()
	}
}

var _ iq.Push = (*PCSCF)(nil)

// mediaLost is the reason of our BYEs (RFC 3326).
const mediaLost = `SIP;cause=503;text="Media lost"`

// Lost implements iq.Push: a call without media is ended at both ends (TS 24.229 5.2.8.1.2). One that is not answered yet is, when it would be.
func (p *PCSCF) Lost(s iq.Session, _ iq.Reason) {
	p.calls.mu.Lock()
	c := p.calls.named[s]
	p.calls.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	c.lost = true
	confirmed := c.confirmed
	c.mu.Unlock()
	if confirmed != "" {
		c.end(confirmed)
	}
}

// end ends a confirmed call at both ends, and its media.
func (c *call) end(callee string) {
	c.release()
	a := c.key.client
	sh := c.p.ports.Shards[int(a.Shard)%len(c.p.ports.Shards)]
	sh.Exec(shard.EventFunc(func(sh *shard.Shard) {
		sh.Start(func(t *shard.Task) {
			var b [associationSize]byte
			near := dialog.Callee
			if c.key.caller {
				near = dialog.Caller
			}
			entry := c.p.appendToken(nil, tokenDialog, a, string(c.p.cfg.Name), "")
			c.p.dialogs.End(t, associationKey(b[:0], a), []byte(c.key.callID), []byte(c.key.tag), []byte(callee), near, string(entry), mediaLost)
		})
	}))
}

// userOf is the default identity of a client, by which its ports are counted.
func (p *PCSCF) userOf(client secure.Association) string {
	if k, found := p.kept(client); found && len(k.sets) > 0 && len(k.sets[0]) > 0 {
		return k.sets[0][0]
	}
	return strconv.FormatUint(uint64(client.Slot), 10) + "." + strconv.Itoa(int(client.Gen)) // who has not registered has no name
}
