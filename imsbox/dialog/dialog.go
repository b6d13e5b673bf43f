// Package dialog keeps the confirmed INVITE dialogs that a proxy is in the path of, so that the proxy can end them when one of their
// clients is gone (TS 24.229 5.2.8.1, 5.4.5.1): whose they are, and all that a BYE to either end needs. The P-CSCF and the S-CSCF each
// have a Ledger of their own (docs/decisions/017).
//
// It decides nothing: who owns a dialog, and when it ends, is its function's business. It follows no sequence numbers and keeps nothing
// over a restart. Imported by functions of the IMS-BOX only. Safe for concurrent use.
package dialog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"sync"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/slab"
	"imsafe/secure"
)

// MaxOwned bounds the dialogs of one owner: of more, the oldest is forgotten. A branch exchange has as many calls as it has lines.
const MaxOwned = 512

// byeCSeq is the sequence number of our BYE. It is the highest there is (RFC 3261 8.1.1.5): above whatever the end for which we speak
// has used, so that nobody need count along; and nothing comes after it.
const byeCSeq = "2147483647 BYE"

// Config is what a ledger must know.
type Config struct {
	Name  hop.Name     // of the function that it belongs to
	Hop   *hop.Table   // the way of its requests
	Proof secure.Proof // that the function itself speaks
	// Past, if set, is how many entries of the route to the called end of a dialog are passed over: they lead by way of somebody who is gone.
	Past func(part uint32) int
}

// Ledger is the confirmed dialogs of one function.
type Ledger struct {
	cfg     Config
	seed    maphash.Seed
	dialogs *slab.Table // key of the dialog -> dialog
	owned   *slab.Table // owner -> the keys of his dialogs and their parts, the oldest first
	scratch sync.Pool   // *[]byte, to build and read records in
}

// New returns an empty ledger.
func New(c Config) *Ledger {
	l := &Ledger{cfg: c, seed: maphash.MakeSeed(), dialogs: slab.New(slab.Config{}), owned: slab.New(slab.Config{})}
	l.scratch.New = func() any {
		b := make([]byte, 0, 2048)
		return &b
	}
	return l
}

// Len is the number of dialogs.
func (l *Ledger) Len() int { return l.dialogs.Len() }

// key names a dialog: half is what tells two halves of a call in one function apart, and the tags are the same from either end.
type key [8]byte

func (l *Ledger) keyOf(half, callID, tag, other []byte) (k key) {
	if string(other) < string(tag) {
		tag, other = other, tag
	}
	h := maphash.Bytes(l.seed, half)
	for _, part := range [...][]byte{callID, tag, other} {
		h = h*0x9e3779b97f4a7c15 ^ maphash.Bytes(l.seed, part)
	}
	binary.BigEndian.PutUint64(k[:], h)
	return k
}

// NameOf names the dialog of a message among those that its Call-ID may have. It is a print of both tags, 128 bits, the same from either end.
func NameOf(m *sip.Message) string { return nameOf(m.FromTag(), m.ToTag()) }

// NameBetween is NameOf for the tags of the two ends.
func NameBetween(tag, other []byte) string { return nameOf(tag, other) }

func nameOf(tag, other []byte) string {
	if string(other) < string(tag) {
		tag, other = other, tag
	}
	var b [256]byte
	sum := sha256.Sum256(append(append(append(b[:0], tag...), 0), other...))
	return hex.EncodeToString(sum[:16])
}

// Offer is an INVITE on its way: what of its dialogs is known before an answer. Several answers may make several dialogs. It holds
// copies.
type Offer struct {
	octets []byte // as they stand in a record: Call-ID, the caller's end
	routes int    // entries of Record-Route, ours included
	tag    []byte // of the caller, behind the octets
}

// Offer reads an initial INVITE, after the function has put own entries into its Record-Route. It is nil for any other request.
func (l *Ledger) Offer(m *sip.Message, own int) *Offer {
	if m.Method() != sip.INVITE || len(m.ToTag()) > 0 {
		return nil
	}
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		return nil // who can't be reached can't be told
	}
	var b [maxRoutes][]byte
	routes, fits := routesOf(m, &b)
	if !fits || own > len(routes) {
		return nil
	}
	o := &Offer{routes: len(routes)}
	e := encoder{make([]byte, 0, 512)}
	e.text(m.Get(sip.HdrCallID))
	e.text(m.Get(sip.HdrFrom))
	e.text(contact.URI)
	e.routes(routes[own:])
	n := len(e.b)
	e.b = append(e.b, m.FromTag()...)
	o.octets, o.tag = e.b[:n], e.b[n:]
	return o
}

// Confirmed takes down the dialog that a 2xx to the offer makes: owner has it, in that part of what is his, and half tells it from others of
// the same call. A nil offer, and an answer that is no 2xx, make none.
func (l *Ledger) Confirmed(o *Offer, half, owner []byte, part uint32, answer hop.Reply) {
	if o == nil || answer.Status()/100 != 2 {
		return
	}
	m := answer.Msg
	var r [maxRoutes][]byte
	routes, fits := routesOf(m, &r)
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	tag := m.ToTag()
	if err != nil || !fits || len(routes) < o.routes || len(tag) == 0 {
		return // a dialog without a way to its other end
	}
	routes = routes[:len(routes)-o.routes]
	slices.Reverse(routes) // the called end's view becomes ours (RFC 3261 12.1.2)
	b := l.scratch.Get().(*[]byte)
	defer l.scratch.Put(b)
	e := encoder{(*b)[:0]}
	e.text(half)
	e.text(owner)
	e.text(m.Get(sip.HdrTo))
	e.text(contact.URI)
	e.routes(routes)
	e.b = append(e.b, o.octets...)
	*b = e.b
	k := l.keyOf(half, m.Get(sip.HdrCallID), o.tag, tag)
	if l.dialogs.Put(k[:], e.b) == nil { // one that is too large for a record can't be ended by us
		l.own(owner, k, part)
	}
}

// Note is a request inside a dialog on its way.
type Note struct {
	key      key
	relevant bool
	ends     bool
	sender   string // of a target refresh: its From tag
	target   string // and its Contact
}

// Note reads a request inside a dialog, before it is forwarded.
func (l *Ledger) Note(half []byte, m *sip.Message) (n Note) {
	method := m.Method()
	if method != sip.BYE && method != sip.INVITE && method != sip.UPDATE {
		return n
	}
	to := m.ToTag()
	if len(to) == 0 {
		return n
	}
	from := m.FromTag()
	n.relevant, n.ends = true, method == sip.BYE
	n.key = l.keyOf(half, m.Get(sip.HdrCallID), from, to)
	if n.ends {
		return n
	}
	n.sender = string(from) // of a target refresh (RFC 3261 12.2, RFC 3311 5.1)
	if contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact)); err == nil {
		n.target = string(contact.URI)
	}
	return n
}

// Answered takes down what became of a noted request: after a BYE that was accepted, or that nobody knows the dialog of, there is none
// (RFC 3261 15.1); a target refresh tells the newest Contacts.
func (l *Ledger) Answered(n Note, r hop.Reply) {
	if !n.relevant {
		return
	}
	switch status := r.Status(); {
	case n.ends && (status/100 == 2 || status == 481 || status == 408):
		l.forget(n.key)
	case !n.ends && status/100 == 2:
		l.refresh(n, r.Msg)
	}
}

// Forget takes the dialog of an answer off the ledger, if it is there: who passed the request on has not stayed in its path.
func (l *Ledger) Forget(half []byte, o *Offer, answer hop.Reply) {
	l.forget(l.keyOf(half, answer.Msg.Get(sip.HdrCallID), o.tag, answer.Msg.ToTag()))
}

// forget takes a dialog off the ledger.
func (l *Ledger) forget(k key) {
	var b [128]byte
	owner := b[:0]
	// To take a record off needs no room: it cannot fail.
	_ = l.dialogs.Update(k[:], func(old, _ []byte) ([]byte, bool) {
		if old != nil {
			d := decoder{old}
			d.text() // half
			owner = append(owner, d.text()...)
		}
		return nil, false
	})
	if len(owner) > 0 {
		l.disown(owner, k)
	}
}

// entry is the size of an owner's word about a dialog: its key and its part.
const entry = len(key{}) + 4

// own adds a dialog to those of an owner.
func (l *Ledger) own(owner []byte, k key, part uint32) {
	var lost key
	full := false
	// There is no limit to the table, and the record is bounded: it cannot fail.
	_ = l.owned.Update(owner, func(old, buf []byte) ([]byte, bool) {
		for i := 0; i < len(old); i += entry {
			if key(old[i:]) == k { // an answer that came twice, or was seen further out: that is the last word
				buf = append(buf, old...)
				binary.BigEndian.PutUint32(buf[len(buf)-len(old)+i+len(key{}):], part)
				return buf, true
			}
		}
		if full = len(old) >= MaxOwned*entry; full {
			lost = key(old)
			old = old[entry:]
		}
		buf = append(append(buf, old...), k[:]...)
		return binary.BigEndian.AppendUint32(buf, part), true
	})
	if full {
		l.dialogs.Delete(lost[:])
	}
}

// disown takes a dialog off those of an owner.
func (l *Ledger) disown(owner []byte, k key) {
	_ = l.owned.Update(owner, func(old, buf []byte) ([]byte, bool) {
		for i := 0; i < len(old); i += entry {
			if key(old[i:]) == k {
				buf = append(append(buf, old[:i]...), old[i+entry:]...)
				return buf, len(buf) > 0
			}
		}
		return old, len(old) > 0
	})
}

// Has reports whether a request, of either end, belongs to a dialog that stands.
func (l *Ledger) Has(half []byte, m *sip.Message) bool {
	k := l.keyOf(half, m.Get(sip.HdrCallID), m.FromTag(), m.ToTag())
	var b [1024]byte
	_, found := l.dialogs.Get(k[:], b[:0])
	return found
}

// Owns reports whether an owner has dialogs.
func (l *Ledger) Owns(owner []byte) bool {
	var b [32 * entry]byte
	_, found := l.owned.Get(owner, b[:0])
	return found
}

// Part returns in which part of what is an owner's a dialog is, of the half, with this Call-ID and these tags, and whether he has it.
func (l *Ledger) Part(half, owner, callID, tag, other []byte) (part uint32, has bool) {
	k := l.keyOf(half, callID, tag, other)
	var b [32 * entry]byte
	entries, _ := l.owned.Get(owner, b[:0])
	for ; len(entries) >= entry; entries = entries[entry:] {
		if key(entries) == k {
			return binary.BigEndian.Uint32(entries[len(key{}):]), true
		}
	}
	return 0, false
}

// Owner returns whose a dialog is that stands, "" if there is none: of the half, with this Call-ID and these tags.
func (l *Ledger) Owner(half, callID, tag, other []byte) string {
	k := l.keyOf(half, callID, tag, other)
	octets, found := l.dialogs.Get(k[:], nil)
	if !found {
		return ""
	}
	return decode(octets).owner
}

// take removes the dialogs of an owner in these parts and returns them.
func (l *Ledger) take(owner []byte, parts func(part uint32) bool) (taken []dialog) {
	var b [32 * entry]byte
	entries, _ := l.owned.Get(owner, b[:0])
	for ; len(entries) >= entry; entries = entries[entry:] {
		k, part := key(entries), binary.BigEndian.Uint32(entries[len(key{}):])
		if !parts(part) {
			continue
		}
		octets, found := l.dialogs.Get(k[:], nil)
		if !found || !l.dialogs.Delete(k[:]) {
			continue // somebody else is ending it
		}
		l.disown(owner, k)
		d := decode(octets)
		d.part = part
		taken = append(taken, d)
	}
	return taken
}

// refresh writes the Contacts of a target refresh into the record.
func (l *Ledger) refresh(n Note, m *sip.Message) {
	answered := ""
	if contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact)); err == nil {
		answered = string(contact.URI)
	}
	_ = l.dialogs.Update(n.key[:], func(old, buf []byte) ([]byte, bool) {
		if old == nil {
			return nil, false
		}
		d := decode(old)
		caller, callee := n.target, answered
		if !d.isCaller(n.sender) {
			caller, callee = callee, caller
		}
		if caller != "" {
			d.caller.target = caller
		}
		if callee != "" {
			d.callee.target = callee
		}
		return d.encode(buf), true
	})
}

// Side is an end of a dialog.
type Side uint8

// The ends of a dialog.
const (
	Caller Side = 1 << iota
	Callee
)

// Released is a dialog that was ended: its Call-ID, its name among the dialogs of that (NameOf), and the half that it was.
type Released struct{ CallID, Name, Half string }

// Release ends the dialogs of an owner in the parts for which parts says so, by a BYE to each end that it names. cause is why, as a SIP
// status (RFC 3326). It returns what was released and waits for nobody: each BYE has a procedure of its own.
func (l *Ledger) Release(t *shard.Task, owner []byte, parts func(part uint32) bool, ends func(part uint32) Side, cause string) (released []Released) {
	for _, d := range l.take(owner, parts) {
		released = append(released, Released{CallID: d.callID, Name: d.name(), Half: d.half})
		told := ends(d.part)
		if told&Callee != 0 {
			l.bye(t, &d, &d.caller, &d.callee, cause)
		}
		if told&Caller != 0 {
			l.bye(t, &d, &d.callee, &d.caller, cause)
		}
	}
	return released
}

// End ends one dialog at both ends, whoever has it, and reports whether it was there: of the half, with this Call-ID and these tags. entry is
// what leads to the near end, before its own route: a function has no entry of its own in what it keeps. cause is that of Release.
func (l *Ledger) End(t *shard.Task, half, callID, tag, other []byte, near Side, entry, cause string) bool {
	k := l.keyOf(half, callID, tag, other)
	octets, found := l.dialogs.Get(k[:], nil)
	if !found || !l.dialogs.Delete(k[:]) {
		return false
	}
	d := decode(octets)
	l.disown([]byte(d.owner), k)
	to := &d.caller
	if near == Callee {
		to = &d.callee
	}
	to.route = append([]string{entry}, to.route...)
	l.bye(t, &d, &d.caller, &d.callee, cause)
	l.bye(t, &d, &d.callee, &d.caller, cause)
	return true
}

// bye sends a BYE in the name of one end to the other (TS 24.229 5.4.5.1.2). A shard without room for another procedure loses it, and
// that end finds out for itself.
func (l *Ledger) bye(t *shard.Task, d *dialog, from, to *end, cause string) {
	m := l.cfg.Hop.Pool().NewRequest(sip.BYE, to.target)
	route := to.route
	if l.cfg.Past != nil && to == &d.callee {
		route = route[min(l.cfg.Past(d.part), len(route)):]
	}
	for _, r := range route {
		m.AppendString(sip.HdrRoute, r)
	}
	m.AppendString(sip.HdrMaxForwards, "70")
	m.AppendString(sip.HdrFrom, from.address)
	m.AppendString(sip.HdrTo, to.address)
	m.AppendString(sip.HdrCallID, d.callID)
	m.AppendString(sip.HdrCSeq, byeCSeq)
	m.AppendString(sip.HdrReason, cause)
	next, known := l.cfg.Hop.Next(m)
	if !known || !t.Shard().Start(func(t *shard.Task) {
		if r := l.cfg.Hop.Originate(t, l.cfg.Name, next, hop.Inbound{Msg: m, Proof: l.cfg.Proof}); r.Msg != nil {
			r.Msg.Release()
		}
	}) {
		m.Release()
	}
}

// All is every part.
func All(uint32) bool { return true }

// Parts returns what says yes to these parts.
func Parts(list []uint32) func(uint32) bool {
	return func(part uint32) bool { return slices.Contains(list, part) }
}
