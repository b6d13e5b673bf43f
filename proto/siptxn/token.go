package siptxn

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// A branch is the magic cookie and a sealed token of the kind Config.Kind. Tags of answers that the layer makes itself and branches of
// ACKs are tokens too, of kinds that are no letters: none of the three opens as another.
const (
	tagKind = 0x80 // exclusive or with Config.Kind
	ackKind = 0xC0
)

const branchSize = len(sip.MagicCookie) + shard.TokenSize

// ViaRoom is at least what the Via that Send adds takes, for a sentBy of up to 64 octets.
const ViaRoom = 160

// MustStream reports whether a request of size octets has to leave over TCP or TLS (RFC 3261 18.1.1). mtu is the path MTU if it is
// known, else 0. size includes our Via: add ViaRoom to the Size of the message.
func MustStream(size, mtu int) bool {
	if mtu <= 0 {
		return size > 1300
	}
	return size > mtu-200
}

// pushVia puts our Via on top of m, with the branch that token seals.
func (l *Layer) pushVia(m *sip.Message, f siptransport.Flow, sentBy []byte, kind byte, p shard.Place) {
	b := append(l.via[:0], "SIP/2.0/"...)
	b = append(b, f.Via.Proto()...)
	b = append(b, ' ')
	b = append(b, sentBy...)
	b = append(b, ";branch="...)
	b = append(b, sip.MagicCookie...)
	b = l.cfg.Sealer.Seal(b, kind, p)
	if !l.cfg.NoRPort && !f.Via.Reliable() {
		b = append(b, ";rport"...)
	}
	if l.cfg.Heard != nil {
		b = append(b, ";"+overload.Offer...)
	}
	l.via = b
	m.Prepend(sip.HdrVia, b)
}

// Branch returns the place that the topmost branch of a response names; false if it is not ours.
func (l *Layer) Branch(m *sip.Message) (shard.Place, bool) {
	via, err := m.TopVia()
	if err != nil {
		return shard.Place{}, false
	}
	return l.open(via.Branch)
}

// open opens a branch of ours.
func (l *Layer) open(branch []byte) (shard.Place, bool) {
	if len(branch) != branchSize || string(branch[:len(sip.MagicCookie)]) != sip.MagicCookie {
		return shard.Place{}, false
	}
	return l.cfg.Sealer.Open(l.cfg.Kind, branch[len(sip.MagicCookie):])
}

// PlaceOfResponse is Branch for octets that are not parsed yet. It looks at the first Via only and knows the usual spelling; false
// means that data is no response, is not ours, or has to be parsed to tell.
func (l *Layer) PlaceOfResponse(data []byte) (shard.Place, bool) {
	const version = "SIP/2.0 "
	if len(data) < len(version) || string(data[:len(version)]) != version {
		return shard.Place{}, false
	}
	for line, rest, more := bytes.Cut(data, crlf); more && len(line) > 0; {
		if line, rest, more = bytes.Cut(rest, crlf); !isVia(line) {
			continue
		}
		if first := bytes.IndexByte(line, ','); first >= 0 {
			line = line[:first]
		}
		i := bytes.Index(line, branchEquals)
		if i < 0 {
			break
		}
		branch := line[i+len(branchEquals)-len(sip.MagicCookie):]
		return l.open(branch[:min(len(branch), branchSize)])
	}
	return shard.Place{}, false
}

var (
	crlf         = []byte("\r\n")
	branchEquals = []byte("branch=" + sip.MagicCookie)
	viaName      = []byte("Via")
)

// isVia reports whether a header line is a Via, in its long or compact form.
func isVia(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	return ok && (bytes.EqualFold(name, viaName) || len(name) == 1 && name[0]|0x20 == 'v')
}

// ours reports whether p is a place on this shard.
func (l *Layer) ours(p shard.Place) bool { return p.Node == l.sh.Node() && p.Shard == l.sh.ID() }

// foreign gives a response away.
func (l *Layer) foreign(p shard.Place, f siptransport.Flow, data []byte) {
	if l.cfg.Foreign == nil {
		l.n.ForeignDropped.Add(1)
		return
	}
	l.n.ForeignGiven.Add(1)
	l.cfg.Foreign(p, f, data)
}

// appendTag appends the tag that answers of our own to a request carry. It depends on the prefix of its key (branch, sent-by and
// source) only, so that an answer without a transaction says the same each time, and its ACK can be told. The hash is one without a
// seed of the process: the same run under the same key writes the same tags, and the seal keeps strangers from predicting them.
func (l *Layer) appendTag(dst, prefix []byte) []byte {
	h := sha256.Sum256(prefix)
	return l.cfg.Sealer.Seal(dst, l.cfg.Kind^tagKind, shard.Place{Node: binary.BigEndian.Uint16(h[:]), Shard: l.sh.ID(),
		Slot: binary.BigEndian.Uint32(h[2:]), Gen: binary.BigEndian.Uint16(h[6:])})
}

// replyFlow is where the response to a request with this topmost Via goes. Streams: the connection it came by. Datagrams: the
// source address always, so nobody can have answers sent to a third party (maddr is ignored); the port is the source port with rport
// (RFC 3581 4), else that of sent-by (RFC 3261 18.2.2).
func replyFlow(f siptransport.Flow, via *sip.Via) siptransport.Flow {
	if f.Via.Reliable() || via.HasRPort {
		return f
	}
	port := via.Port
	if port == 0 {
		port = 5060
	}
	f.Peer = netip.AddrPortFrom(f.Peer.Addr(), port)
	return f
}
