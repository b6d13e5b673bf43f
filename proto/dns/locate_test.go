package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"imsafe/test/nameserver"
)

// TestLocate: from a domain to its servers (RFC 3263 4.1, 4.2), whatever of it the DNS has.
func TestLocate(t *testing.T) {
	const srv = `
_sips._tcp.ims.example.org. 60 IN SRV 20 0 5061 spare.ims.example.org.
_sips._tcp.ims.example.org. 60 IN SRV 10 1 5061 one.ims.example.org.
_sips._tcp.ims.example.org. 60 IN SRV 10 9 5063 two.ims.example.org.
`
	const naptr = `
ims.example.org. 60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.ims.example.org.
ims.example.org. 60 IN NAPTR 20 10 "s" "sips+d2t" "" _sips._tcp.edge.example.org.
ims.example.org. 60 IN NAPTR 30 10 "s" "SIPS+D2T" "" _sips._tcp.later.example.org.
_sips._tcp.edge.example.org. 60 IN SRV 0 0 443 edge.example.org.
`
	const usual = "[{two.ims.example.org 5063} {one.ims.example.org 5061} {spare.ims.example.org 5061}]"
	for name, c := range map[string]struct {
		zone string
		edit func(string, *dns.Msg) *dns.Msg
		want string
		err  error
	}{
		"SRV alone":                                {zone: srv, want: usual},
		"NAPTR leads elsewhere":                    {zone: srv + naptr, want: "[{edge.example.org 443}]"},
		"NAPTR of other transports":                {zone: srv + `ims.example.org. 60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.ims.example.org.`, want: usual},
		"NAPTR with an expression is not followed": {zone: srv + `ims.example.org. 60 IN NAPTR 10 10 "u" "SIPS+D2T" "!.*!sip:x@y!" .`, want: usual},
		"NAPTR is not answered": {zone: srv, want: usual, edit: func(_ string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Qtype == dns.TypeNAPTR {
				m.Rcode = dns.RcodeNotImplemented
			}
			return m
		}},
		"nothing":         {want: "[]"},
		"no such service": {zone: "_sips._tcp.ims.example.org. 60 IN SRV 0 0 0 .", want: "[]", err: ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := nameserver.Start(t, c.zone)
			s.Edit(c.edit)
			got, err := client(s.Address).Locate(context.Background(), "ims.example.org", TLS)
			if fmt.Sprint(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%v, %v; want %s, %v", got, err, c.want, c.err)
			}
		})
	}
	s := nameserver.Start(t, srv)
	s.Silence()
	if got, err := givesUp(s.Address).Locate(context.Background(), "ims.example.org", TLS); err == nil {
		t.Errorf("nobody answers: %v", got)
	}
}

// TestLocate_asks: each transport has its names.
func TestLocate_asks(t *testing.T) {
	s := nameserver.Start(t, "")
	c := client(s.Address)
	for _, transport := range []Transport{TLS, TCP, UDP} {
		if _, err := c.Locate(context.Background(), "ims.example.org", transport); err != nil {
			t.Error(err)
		}
	}
	want := "ims.example.org NAPTR, _sips._tcp.ims.example.org SRV, ims.example.org NAPTR, _sip._tcp.ims.example.org SRV, ims.example.org NAPTR, _sip._udp.ims.example.org SRV"
	if got := strings.Join(s.Asked(), ", "); got != want {
		t.Errorf("it was asked %s", got)
	}
}

// TestWeights: a lower priority is first whatever the weights; of one priority each is first as often as its weight says, and who has none hardly ever.
func TestWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := &Client{Pick: r.IntN}
	records := []SRV{{"never", 1, 10, 0}, {"three", 1, 10, 30}, {"six", 1, 10, 60}, {"one", 1, 10, 10}, {"spare", 1, 20, 65535}}
	first := map[string]int{}
	const draws = 20000
	for range draws {
		order := c.inOrder(records)
		if len(order) != len(records) || order[4].Target != "spare" {
			t.Fatalf("%v", order)
		}
		first[order[0].Target]++
	}
	for name, want := range map[string]int{"six": 60, "three": 30, "one": 10, "never": 0} {
		if got := first[name] * 100 / draws; got < want-2 || got > want+2 {
			t.Errorf("%s is first in %d of 100, want %d", name, got, want)
		}
	}
	if first["never"] == 0 {
		t.Error("who has no weight has no chance at all")
	}
}
