package scscf

import (
	"bytes"
	"net/url"
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/rf"
)

// An INVITE may name a call that stands: to take the place of one of its ends (Replaces, RFC 3891), or to join it (Join, RFC 3911). A telephone
// that knows this gives the sender its media without asking its user, and is to judge by itself whether he has a right to them (RFC 3891 3, 8); most cannot. So
// the S-CSCF of the sender judges: whose call it is, and whom one of its ends has sent there by REFER, as in an attended transfer (RFC 5589 7).

// namedCall is a dialog by its name: Call-ID and tags, in any order.
type namedCall struct{ callID, tag, other []byte }

// takenBy are the calls that an INVITE names, as they stand in it.
func takenBy(m *sip.Message) (values []string) {
	if m.Method() != sip.INVITE {
		return nil
	}
	for _, header := range [...]sip.HeaderID{sip.HdrReplaces, sip.HdrJoin} {
		for v := range m.Values(header) {
			values = append(values, string(v))
		}
	}
	return values
}

// readNamedCall reads a value of Replaces (RFC 3891 6.1) or Join (RFC 3911 7.1), each of whose tags stands there once.
func readNamedCall(value []byte) (c namedCall, sound bool) {
	callID, params, _ := bytes.Cut(value, []byte(";"))
	c.callID = bytes.TrimSpace(callID)
	for p := range bytes.SplitSeq(params, []byte(";")) {
		name, v, _ := bytes.Cut(p, []byte("="))
		var tag *[]byte
		switch name = bytes.TrimSpace(name); {
		case bytes.EqualFold(name, []byte("to-tag")):
			tag = &c.tag
		case bytes.EqualFold(name, []byte("from-tag")):
			tag = &c.other
		default:
			continue
		}
		if *tag != nil {
			return c, false
		}
		*tag = bytes.TrimSpace(v)
	}
	return c, len(c.callID) > 0 && len(c.tag) > 0 && len(c.other) > 0
}

// intrudes reports whether an INVITE names a call that its sender has no right to. A call that nobody knows is nobody's.
func (s *SCSCF) intrudes(t *shard.Task, in hop.Inbound) bool {
	for _, value := range takenBy(in.Msg) {
		c, sound := readNamedCall([]byte(value))
		if (!sound || !s.isEnd(in, &c) && !s.transfers.allow(&c, in.Proof.IMPI(), t.Now())) && s.isOfAnotherLeg("foreign-call", in.Proof.IMPI()) {
			return true
		}
	}
	return false
}

// isEnd reports whether the sender of a request is an end of a call: the roster of a call that is no conference.
func (s *SCSCF) isEnd(in hop.Inbound, c *namedCall) bool {
	if fromPlatform(in) {
		host := []byte(in.Proof.Peer())
		part, has := s.hosted.Part(host, host, c.callID, c.tag, c.other)
		return has && part != hostedBetween
	}
	impi := []byte(in.Proof.IMPI())
	for _, role := range [...]rf.Role{rf.Originating, rf.Terminating} {
		if _, has := s.dialogs.Part(half(role), impi, c.callID, c.tag, c.other); has && len(impi) > 0 {
			return true
		}
	}
	return false
}

// transferred takes down that an end of one call sends the other end of its own call there: a REFER inside a dialog, whose Refer-To names a call by Replaces or
// Join (RFC 3891 7.1, RFC 5589 7.1). What another says of a call that is not his allows nothing.
func (s *SCSCF) transferred(t *shard.Task, in hop.Inbound) {
	if in.Msg.Method() != sip.REFER || fromPlatform(in) {
		return
	}
	to, err := sip.ParseNameAddr(in.Msg.Get(sip.HdrReferTo))
	if err != nil {
		return
	}
	uri, err := sip.ParseURI(to.URI)
	if err != nil {
		return
	}
	for header := range bytes.SplitSeq(uri.Headers, []byte("&")) {
		name, escaped, _ := bytes.Cut(header, []byte("="))
		if !bytes.EqualFold(name, []byte("Replaces")) && !bytes.EqualFold(name, []byte("Join")) {
			continue
		}
		value, err := url.PathUnescape(string(escaped))
		if err != nil {
			continue
		}
		if c, sound := readNamedCall([]byte(value)); sound && s.isEnd(in, &c) {
			s.transfers.note(&c, s.otherEnd(in), t.Now())
		}
	}
}

// otherEnd is whose the dialog of a request is besides the sender, "" if nobody's of this network.
func (s *SCSCF) otherEnd(in hop.Inbound) string {
	for _, role := range [...]rf.Role{rf.Originating, rf.Terminating} {
		owner := s.dialogs.Owner(half(role), in.Msg.Get(sip.HdrCallID), in.Msg.FromTag(), in.Msg.ToTag())
		if owner != "" && owner != in.Proof.IMPI() {
			return owner
		}
	}
	return ""
}

// transfers are who may take the place of an end of a call, or join it, because an end of it has sent him there. Safe for concurrent use.
type transfers struct {
	mu    sync.Mutex
	until map[transfer]time.Duration
	order []transfer // the oldest first
}

// transfer is one such right: of a call, for a private identity.
type transfer struct{ callID, name, impi string }

// The bounds of what is kept: a telephone follows a REFER at once.
const (
	maxTransfers = 1 << 12
	transferLife = 32 * time.Second // 64*T1 (RFC 3261 17.1.2.2)
)

func newTransfers() *transfers { return &transfers{until: map[transfer]time.Duration{}} }

func transferOf(c *namedCall, impi string) transfer {
	return transfer{string(c.callID), dialog.NameBetween(c.tag, c.other), impi}
}

func (t *transfers) note(c *namedCall, impi string, now time.Duration) {
	if impi == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.order) > 0 && (len(t.order) == maxTransfers || t.until[t.order[0]] <= now) {
		delete(t.until, t.order[0])
		t.order = t.order[1:]
	}
	right := transferOf(c, impi)
	if _, known := t.until[right]; !known {
		t.order = append(t.order, right)
	}
	t.until[right] = now + transferLife
}

func (t *transfers) allow(c *namedCall, impi string, now time.Duration) bool {
	if impi == "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return now < t.until[transferOf(c, impi)]
}
