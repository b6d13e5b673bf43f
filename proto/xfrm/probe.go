package xfrm

import (
	"net/netip"
	"time"

	"imsafe/proto/esp"
)

// probeSPI is that of the associations that are added to see whether they can be. They are between addresses of documentation (RFC 5737,
// RFC 3849), and end by themselves.
const probeSPI = 0x696d7361

// Probe adds and deletes an association for each pair, in each family, and returns what cannot be had. It is the only question whose
// answer means anything: a kernel without ESP takes policies, too.
func (k *Kernel) Probe(pairs []esp.Transform, ipv4, ipv6 bool) (lacks []Lack) {
	try := func(src, dst string, six bool) {
		a := association{probeSPI, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), true}
		for _, t := range pairs {
			if err := k.tryOut(&a, t); err != nil {
				lacks = append(lacks, Lack{six, t, err})
			}
		}
	}
	if ipv4 {
		try("192.0.2.1:1", "192.0.2.2:2", false)
	}
	if ipv6 {
		try("[2001:db8::1]:1", "[2001:db8::2]:2", true)
	}
	return lacks
}

// tryOut adds an association and deletes it.
func (k *Kernel) tryOut(a *association, t esp.Transform) error {
	m := &k.out
	defer m.reset()
	m.appendSA(msgNewSA, a, noKeys(t), Tag, time.Second)
	m.appendSAID(msgDelSA, a, flagAck)
	var results [2]error
	if err := k.do(m, results[:]); err != nil {
		return err
	}
	return results[0]
}
