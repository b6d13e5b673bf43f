package xfrm

import (
	"errors"
	"net/netip"
	"syscall"
)

// Tag is on every association and in every policy of ours: their "reqid".
const Tag = 0x00696d73

// policies are the two of each protected port: what comes there, and what leaves from there, is in ESP of ours. Both protocols, whoever the
// peer: there are none per client.
func policies(local netip.Addr, ports []uint16) (all []policy) {
	for _, port := range ports {
		at := netip.AddrPortFrom(local, port)
		all = append(all, policy{at, dirIn}, policy{at, dirOut})
	}
	return all
}

// Protect adds the policies of protected ports, all or none. Before their sockets are opened.
func (k *Kernel) Protect(local netip.Addr, ports ...uint16) error {
	all := policies(local, ports)
	m, results := &k.out, make([]error, len(all))
	defer m.reset()
	for _, p := range all {
		m.appendPolicy(p, Tag)
	}
	err := k.do(m, results)
	if err == nil && errors.Join(results...) == nil {
		return nil
	}
	m.reset()
	for i, p := range all {
		if err != nil || results[i] == nil {
			m.appendDelPolicy(p)
		}
	}
	undone := make([]error, len(all))
	_ = k.do(m, undone) // what stays lets nothing through
	if errors.Is(errors.Join(results...), syscall.EEXIST) {
		return ErrTaken
	}
	return errors.Join(err, errors.Join(results...))
}

// Swept is what Sweep has found.
type Swept struct{ Associations, Policies int }

// Sweep deletes the associations of ours that end or begin at local, and the policies of its ports: what a process that was killed has left.
// Those of other addresses are somebody else's.
func (k *Kernel) Sweep(local netip.Addr) (s Swept, err error) {
	var old []association
	m := &k.out
	defer m.reset()
	m.appendDump(msgGetSA)
	err = k.dump(m, func(kind uint16, body []byte) {
		if a, ours := ownSA(body); kind == msgNewSA && ours && (a.src.Addr() == local || a.dst.Addr() == local) {
			old = append(old, a)
		}
	})
	m.reset()
	m.appendDump(msgGetPolicy)
	var doors []policy
	err = errors.Join(err, k.dump(m, func(kind uint16, body []byte) {
		if p, ours := ownPolicy(body); kind == msgNewPolicy && ours && p.port.Addr() == local {
			doors = append(doors, p)
		}
	}))
	if err != nil {
		return s, err
	}
	const most = 64
	for len(old)+len(doors) > 0 && err == nil {
		m.reset()
		n := min(len(old), most)
		for i := range old[:n] {
			m.appendSAID(msgDelSA, &old[i], flagAck)
		}
		old = old[n:]
		if n == 0 {
			n = min(len(doors), most)
			for _, p := range doors[:n] {
				m.appendDelPolicy(p)
			}
			doors = doors[n:]
			s.Policies += n
		} else {
			s.Associations += n
		}
		var results [most]error
		err = k.do(m, results[:n])
		for _, r := range results[:n] {
			if r != nil && !errors.Is(r, syscall.ESRCH) && !errors.Is(r, syscall.ENOENT) {
				err = errors.Join(err, r)
			}
		}
	}
	return s, err
}

// ownSA reads an association that the kernel tells of. ours is whether it has our tag.
func ownSA(b []byte) (a association, ours bool) {
	if len(b) < sizeSA || native.Uint32(b[offsetSAReqid:]) != Tag || b[offsetSAID+20] != protoESP {
		return a, false
	}
	f := native.Uint16(b[offsetSAFamily:])
	dst, ok := addressIn(b[offsetSAID:], f)
	src, also := addressIn(b[offsetSASource:], f)
	a = association{spi: spiIn(b[offsetSAID+16:]), src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0)}
	return a, ok && also
}

// ownPolicy reads a policy that the kernel tells of.
func ownPolicy(b []byte) (p policy, ours bool) {
	if len(b) < sizePolicy {
		return p, false
	}
	p.dir = b[offsetPolRest+8]
	at, port := b[16:], b[36:] // of the source
	if p.dir == dirIn {
		at, port = b, b[32:]
	}
	local, ok := addressIn(at, native.Uint16(b[40:]))
	p.port = netip.AddrPortFrom(local, uint16(port[0])<<8|uint16(port[1]))
	for rest := b[sizePolicy:]; ok && len(rest) >= 4; {
		size := int(native.Uint16(rest))
		if size < 4 || size > len(rest) {
			return p, false
		}
		if native.Uint16(rest[2:]) == attrTemplate && size >= 4+sizeTemplate {
			return p, native.Uint32(rest[4+offsetTmplRest:]) == Tag && p.dir <= dirOut
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return p, false
}

func spiIn(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// addressIn reads an address of a family.
func addressIn(b []byte, family uint16) (netip.Addr, bool) {
	switch family {
	case familyIPv4:
		return netip.AddrFrom4([4]byte(b)), true
	case familyIPv6:
		return netip.AddrFrom16([16]byte(b)), true
	}
	return netip.Addr{}, false
}
