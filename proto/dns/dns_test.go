package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"imsafe/test/nameserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records are what the servers of the tests know.
const records = `
ims.example.org. 60 IN NAPTR 20 10 "s" "SIP+D2T" "" _sip._tcp.ims.example.org.
ims.example.org. 60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.ims.example.org.
_sip._udp.ims.example.org. 60 IN SRV 2 0 5060 two.ims.example.org.
_sip._udp.ims.example.org. 60 IN SRV 1 0 5060 pcscf.ims.example.org.
pcscf.ims.example.org. 60 IN A 192.0.2.1
pcscf.ims.example.org. 60 IN AAAA 2001:db8::1
`

// server is one that knows the records, and changes its answers.
func server(t *testing.T, edit func(network string, answer *dns.Msg) *dns.Msg) netip.AddrPort {
	t.Helper()
	s := nameserver.Start(t, records)
	s.Edit(edit)
	return s.Address
}

// client asks servers, and waits for each for as long as it takes on a busy host.
func client(servers ...netip.AddrPort) *Client {
	var d net.Dialer
	return &Client{Servers: servers, Dial: d.DialContext, Deadline: func() time.Time { return time.Now().Add(time.Minute) }}
}

// givesUp is client, but for server, from which no answer is wanted, it waits for a moment only.
func givesUp(server netip.AddrPort, others ...netip.AddrPort) *Client {
	c, now := client(append([]netip.AddrPort{server}, others...)...), ""
	dial, patient := c.Dial, c.Deadline
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		now = address
		return dial(ctx, network, address)
	}
	c.Deadline = func() time.Time {
		if now != server.String() {
			return patient()
		}
		return time.Now().Add(200 * time.Millisecond)
	}
	return c
}

// dump is all that a client finds.
func dump(t *testing.T, c *Client) string {
	t.Helper()
	ctx := context.Background()
	pointers, err1 := c.LookupNAPTR(ctx, "ims.example.org")
	services, err2 := c.LookupSRV(ctx, "_sip._udp.ims.example.org")
	addresses, err3 := c.LookupAddresses(ctx, "pcscf.ims.example.org")
	nobody, err4 := c.LookupAddresses(ctx, "nobody.example.org")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Error(err)
	}
	return fmt.Sprint(pointers, services, addresses, nobody)
}

const all = "[{10 10 s SIP+D2U  _sip._udp.ims.example.org} {20 10 s SIP+D2T  _sip._tcp.ims.example.org}] " +
	"[{pcscf.ims.example.org 5060 1 0} {two.ims.example.org 5060 2 0}] [192.0.2.1 2001:db8::1] []"

// TestLookups: whatever the servers do, the same is found.
func TestLookups(t *testing.T) {
	fails := func(_ string, m *dns.Msg) *dns.Msg { m.Rcode, m.Answer = dns.RcodeServerFailure, nil; return m }
	silent := func(string, *dns.Msg) *dns.Msg { return nil }
	cuts := func(network string, m *dns.Msg) *dns.Msg {
		if network == "udp" {
			m.Truncated, m.Answer = true, nil
		}
		return m
	}
	good := server(t, nil)
	for name, c := range map[string]*Client{
		"one server":             client(good),
		"the first fails":        client(server(t, fails), good),
		"the first says nothing": givesUp(server(t, silent), good),
		"nobody is at the first": client(netip.MustParseAddrPort("127.0.0.1:1"), good),
		"answers are cut in UDP": client(server(t, cuts)),
	} {
		t.Run(name, func(t *testing.T) {
			if got := dump(t, c); got != all {
				t.Errorf("%s\nwant %s", got, all)
			}
		})
	}
}

// TestForgedAnswers: an answer to another question, or with another identifier, is none.
func TestForgedAnswers(t *testing.T) {
	for name, forge := range map[string]func(*dns.Msg){
		"another identifier": func(m *dns.Msg) { m.Id++ },
		"another question":   func(m *dns.Msg) { m.Question[0].Name = "evil.example.org." },
		"no question":        func(m *dns.Msg) { m.Question = nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := givesUp(server(t, func(_ string, m *dns.Msg) *dns.Msg { forge(m); return m }))
			if got, err := c.LookupAddresses(context.Background(), "pcscf.ims.example.org"); err == nil || len(got) > 0 {
				t.Errorf("%v %v", got, err)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	if _, err := client().LookupNAPTR(context.Background(), "ims.example.org"); !errors.Is(err, ErrNoServer) {
		t.Error(err)
	}
	refuses := server(t, func(_ string, m *dns.Msg) *dns.Msg { m.Rcode, m.Answer = dns.RcodeRefused, nil; return m })
	if _, err := client(refuses).LookupSRV(context.Background(), "x.org"); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Error(err)
	}
	told, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client(refuses, refuses).LookupSRV(told, "x.org"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestServers(t *testing.T) {
	got := Servers([]byte("# x\nsearch example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver name.example.org\n"))
	if fmt.Sprint(got) != "[192.0.2.53:53 [2001:db8::53]:53]" {
		t.Error(got)
	}
	if got := Servers(nil); got != nil {
		t.Error(got)
	}
}

// FuzzServers: any file gives servers or none.
func FuzzServers(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.53\noptions ndots:1 timeout:x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range Servers(data) {
			if !s.IsValid() || s.Port() != 53 {
				t.Error(s)
			}
		}
	})
}
