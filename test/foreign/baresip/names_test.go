package baresip

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"imsafe/test/live"
)

// names is a name server that knows where the P-CSCF is: a softphone sends the requests of a dialog where Record-Route says,
// and that is a name (RFC 3263 4). It returns the server's address.
func names(t *testing.T, n *live.Node) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			size, from, err := pc.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			if reply, err := answerTo(b[:size], n.TLS); err == nil {
				_, _ = pc.WriteTo(reply, from) // who does not hear it asks again
			}
		}
	}()
	t.Cleanup(func() { _ = pc.Close(); <-done })
	return pc.LocalAddr().String()
}

// answerTo answers SRV with the port and A with the address; all else has no records.
func answerTo(query []byte, at netip.AddrPort) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, errors.Join(err, errors.New("not a question"))
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
	host := dnsmessage.MustNewName("pcscf." + live.Domain + ".")
	switch asked := q.Name.String(); {
	case q.Type == dnsmessage.TypeSRV && asked == "_sips._tcp."+host.String():
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.SRVResource{Priority: 1, Weight: 1, Port: at.Port(), Target: host}}}
	case q.Type == dnsmessage.TypeA && strings.EqualFold(asked, host.String()):
		m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: at.Addr().As4()}}}
	}
	return m.Pack()
}
