package clientims

import (
	"net/netip"
	"testing"

	"imsafe/proto/secagree"
	"imsafe/proto/siptransport"
)

// FuzzGm lets any octets come in on the unprotected port and over the associations of a client: nothing breaks, the client keeps what it has,
// and nothing that is no REGISTER makes an association.
func FuzzGm(f *testing.F) {
	seed := newGmBench(&testing.T{}, secagree.Strict())
	p := seed.phone("alice", "198.51.100.7")
	f.Add([]byte(p.request("REGISTER", p.offer())), false)
	p.register()
	f.Add([]byte(p.request("REGISTER", p.offer(), p.verify(0))), true)
	f.Add([]byte(p.request("MESSAGE", p.verify(0))), true)
	f.Add([]byte(p.request("INVITE")), false)
	f.Add([]byte("REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP [::1]:1;branch=z9hG4bKx\r\nSecurity-Client: ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=1;spi-s=2;port-c=1;port-s=2,tls\r\n\r\n"), true)
	b := newGmBench(&testing.T{}, secagree.Strict()) // one for all: a bench of its own for each would be most of the work
	p = b.phone("alice", "198.51.100.7")
	a := p.register()
	record, _ := b.door.lookup(a)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		flow := siptransport.Flow{Via: &wire{peer: netip.MustParseAddrPort("198.51.100.8:5060")}, Peer: netip.MustParseAddrPort("198.51.100.8:5060")}
		port := b.port
		if sealed {
			flow = siptransport.Flow{Via: record.sa.sets[current].set, Peer: netip.AddrPortFrom(p.addr, p.uc)}
			port = b.gm.sealed.ports[0]
		}
		b.on(func() { port.Packet(flow, data) })
		if !b.door.Alive(a) {
			t.Error("the client's association is gone")
		}
	})
}
