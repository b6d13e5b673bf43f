package pcscf

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"strconv"
	"sync"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// What a client sends inside a dialog goes the way of that dialog (TS 24.229 5.2.6.3.9). The entries that others have in its route set are no secret:
// a client that could leave some out, or use them once more, would reach the other party past the S-CSCFs, past what they allow and count,
// and past the services of whom it reaches. The way is not kept: our own entry in the client's route set has a print of the dialog and of all that follows.

// entry is one of our own in Route.
type entry struct {
	association secure.Association
	known       disclosure // what the dialog lets its parties know
	path        bool       // it stood in Path, not in Record-Route
	tie         [tieSize]byte
	tied        bool // it has a print
}

// tieSize is the length of a print in octets: 128 bits as base64url.
const tieSize = 22

// ties make prints. Safe for concurrent use.
type ties struct{ pool sync.Pool }

type tier struct {
	mac  hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// newTies takes its key from the seal: the token of a place that is none, which is never given to anybody.
func newTies(s *shard.Sealer) *ties {
	key := s.Seal(nil, 't', shard.Place{})
	return &ties{sync.Pool{New: func() any { return &tier{mac: hmac.New(sha256.New, key)} }}}
}

// append appends the print of a dialog: its Call-ID, the tag of the party that is not our client, and its way on, which are the values of a field from
// one on to another, step by step.
func (t *ties) append(b []byte, m *sip.Message, tag []byte, h sip.HeaderID, from, to, step int) []byte {
	x := t.pool.Get().(*tier)
	defer t.pool.Put(x)
	x.text = append(x.text[:0], m.Get(sip.HdrCallID)...)
	x.text = append(append(x.text, 0), tag...)
	for i := from; i != to; i += step {
		x.text = appendPlace(append(x.text, 0), m.Nth(h, i))
	}
	x.mac.Reset()
	_, _ = x.mac.Write(x.text) // never fails
	return base64.RawURLEncoding.AppendEncode(b, x.mac.Sum(x.sum[:0])[:16])
}

// appendPlace appends where an entry of Route or Record-Route leads to. How it is written, and with which parameters, is up to each client.
func appendPlace(b, nameAddr []byte) []byte {
	addr, err := sip.ParseNameAddr(nameAddr)
	if err != nil {
		return append(b, nameAddr...)
	}
	uri, err := sip.ParseURI(addr.URI)
	if err != nil {
		return append(b, nameAddr...)
	}
	b = append(append(b, uri.User...), '@')
	for _, c := range uri.Host {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return strconv.AppendUint(append(b, ':'), uint64(uri.Port), 10)
}

// tiesCaller returns what gives the client that sends in, the first of a dialog, its entry with the print: only the answer has the whole
// way (RFC 3261 16.7 step 8 lets a proxy change its own entry there). nil if in makes no dialog.
func (p *PCSCF) tiesCaller(in hop.Inbound) hop.Up {
	if !in.Msg.Method().MakesDialog() {
		return nil
	}
	a := in.Proof.Association()
	return func(r hop.Reply) hop.Reply {
		if r.Msg == nil || len(r.Msg.ToTag()) == 0 {
			return r
		}
		own := p.ownEntries(r.Msg, a)
		if own == 0 {
			return r
		}
		last := r.Msg.Count(sip.HdrRecordRoute) - 1
		tie := p.ties.append(make([]byte, 0, tieSize), r.Msg, r.Msg.ToTag(), sip.HdrRecordRoute, last-own, -1, -1)
		if v := withTie(r.Msg.Nth(sip.HdrRecordRoute, last), tie); v != nil {
			r.Msg.RemoveLast(sip.HdrRecordRoute)
			r.Msg.Append(sip.HdrRecordRoute, v)
		}
		return r
	}
}

// ownEntries is how many entries of the association a stand last in Record-Route, where its client has begun the dialog.
func (p *PCSCF) ownEntries(m *sip.Message, a secure.Association) (own int) {
	for n := m.Count(sip.HdrRecordRoute); own < 2 && own < n; own++ {
		if e, ours := p.entryOf(m.Nth(sip.HdrRecordRoute, n-1-own)); !ours || e.path || e.association != a {
			break
		}
	}
	return own
}

// withTie puts a print behind the token of an entry, nil if it cannot be read.
func withTie(nameAddr, tie []byte) []byte {
	addr, err := sip.ParseNameAddr(nameAddr)
	if err != nil {
		return nil
	}
	uri, err := sip.ParseURI(addr.URI)
	if err != nil || len(uri.User) != shard.TokenSize {
		return nil
	}
	var user [shard.TokenSize + tieSize]byte
	copy(user[copy(user[:], uri.User):], tie)
	uri.User = user[:]
	return append(uri.AppendTo(append(make([]byte, 0, 192), '<')), '>')
}

// follows reports whether a request of a client inside a dialog, whose own entry e is off its Route, belongs to the dialog of that entry and goes its way.
func (p *PCSCF) follows(in hop.Inbound, e *entry) bool {
	if !e.tied || e.path {
		return false
	}
	var b [tieSize]byte
	want := p.ties.append(b[:0], in.Msg, in.Msg.ToTag(), sip.HdrRoute, 0, in.Msg.Count(sip.HdrRoute), 1)
	return subtle.ConstantTimeCompare(want, e.tie[:]) == 1
}

// standsAlone reports whether a request could have come outside of a dialog just as well, where it would have been judged: inside of one it is there for the
// call (RFC 3428 4), and is not taken for longer than that lasts.
func standsAlone(m sip.Method) bool { return m == sip.MESSAGE }

// inCall reports whether a request of a client belongs to a call of its that stands.
func (p *PCSCF) inCall(in hop.Inbound, a secure.Association) bool {
	var b [associationSize]byte
	return p.dialogs.Has(associationKey(b[:0], a), in.Msg)
}
