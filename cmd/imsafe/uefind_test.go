package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/dns"
	"imsafe/test/nameserver"
)

// by is a finder that asks a name server of the test alone, addresses too.
func by(s *nameserver.Server) *finder {
	var d net.Dialer
	return &finder{
		records: &dns.Client{Servers: []netip.AddrPort{s.Address}, Dial: d.DialContext, Deadline: func() time.Time { return time.Now().Add(time.Minute) }},
		hosts: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, s.Address.String())
		}},
	}
}

// ownHosts are those that a machine knows without asking.
type ownHosts map[string]string

func (h ownHosts) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, known := h[host]; known {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// TestFind: which P-CSCFs a client tries, in which order, by what it was told and what the DNS says (RFC 3263 4; TS 24.229 9.2.1).
func TestFind(t *testing.T) {
	const domain = "ims.example.org"
	const hosts = `
pcscf.ims.example.org. 60 IN A 192.0.2.9
a.ims.example.org. 60 IN A 192.0.2.1
b.ims.example.org. 60 IN A 192.0.2.2
b.ims.example.org. 60 IN AAAA 2001:db8::2
edge.example.net. 60 IN A 198.51.100.1
`
	const srv = `
_sips._tcp.ims.example.org. 60 IN SRV 20 0 5061 b.ims.example.org.
_sips._tcp.ims.example.org. 60 IN SRV 10 0 5062 a.ims.example.org.
_sips._tcp.ims.example.org. 60 IN SRV 30 0 5061 gone.ims.example.org.
_sip._udp.ims.example.org. 60 IN SRV 20 0 5060 b.ims.example.org.
_sip._udp.ims.example.org. 60 IN SRV 10 0 5060 a.ims.example.org.
`
	for name, c := range map[string]struct {
		zone      string
		proxy     []string
		transport ue.Transport
		want      string
		fails     string
	}{
		"SRV of the home domain":             {zone: hosts + srv, want: "192.0.2.1:5062 192.0.2.2:5061 [2001:db8::2]:5061"},
		"over datagrams, of one family":      {zone: hosts + srv, transport: ue.IPsecUDP, want: "192.0.2.1:5060 192.0.2.2:5060"},
		"NAPTR leads to another name":        {zone: hosts + srv + "\nims.example.org. 60 IN NAPTR 1 1 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.net.\n_sips._tcp.example.net. 60 IN SRV 1 1 443 edge.example.net.", want: "198.51.100.1:443"},
		"no SRV: the usual name":             {zone: hosts, want: "192.0.2.9:5061"},
		"no SRV for the transport":           {zone: hosts + srv, transport: ue.TCP, want: "192.0.2.9:5061"},
		"nothing at all":                     {zone: "", fails: "--proxy HOST:PORT"},
		"the domain has no such service":     {zone: hosts + "_sips._tcp.ims.example.org. 60 IN SRV 0 0 0 .", fails: "no such service"},
		"every SRV leads to nothing":         {zone: "_sips._tcp.ims.example.org. 60 IN SRV 1 1 5061 gone.ims.example.org.", fails: "gone.ims.example.org"},
		"named by a name that has SRV":       {zone: hosts + srv, proxy: []string{"ims.example.org"}, want: "192.0.2.1:5062 192.0.2.2:5061 [2001:db8::2]:5061"},
		"named by a host":                    {zone: hosts + srv, proxy: []string{"a.ims.example.org", "b.ims.example.org:7"}, want: "192.0.2.1:5061 192.0.2.2:7 [2001:db8::2]:7"},
		"named by addresses":                 {zone: "", proxy: []string{"192.0.2.7", "[2001:db8::7]:9", "192.0.2.7:5061"}, want: "192.0.2.7:5061 [2001:db8::7]:9"},
		"one of two names leads to nothing":  {zone: hosts, proxy: []string{"gone.example.org", "a.ims.example.org"}, want: "192.0.2.1:5061"},
		"a name that leads to nothing alone": {zone: hosts, proxy: []string{"gone.example.org"}, fails: "gone.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &line{Proxy: c.proxy}
			all, err := l.proxies(t.Context(), by(nameserver.Start(t, c.zone)), c.transport, "pcscf."+domain, "5061", domain)
			if got := strings.Trim(fmt.Sprint(all), "[]"); c.fails == "" && (strings.Trim(c.want, "[]") != got || len(all) == 0) || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("%v, %v", all, err)
			}
		})
	}
	silent := nameserver.Start(t, hosts+srv)
	silent.Silence()
	f := by(silent)
	f.records.Deadline, f.hosts = func() time.Time { return time.Now().Add(50 * time.Millisecond) }, ownHosts{"pcscf." + domain: "192.0.2.8"}
	all, err := (&line{}).proxies(t.Context(), f, ue.TLS, "pcscf."+domain, "5061", domain)
	if err != nil || fmt.Sprint(all) != "[192.0.2.8:5061]" {
		t.Errorf("no name server answers, and the machine knows the host by itself: %v, %v", all, err)
	}
	if all, err = (&line{}).proxies(t.Context(), f, ue.TLS, "pcscf.example.com", "5061", domain); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("nobody knows anything: %v, %v", all, err)
	}
}

// TestFind_again: a client that was told no address looks for P-CSCFs again when none is there; one that was told addresses does not.
func TestFind_again(t *testing.T) {
	s := nameserver.Start(t, "_sips._tcp.ims.example.org. 60 IN SRV 1 1 5061 a.ims.example.org.\na.ims.example.org. 60 IN A 192.0.2.1\n")
	a := &app{ctx: t.Context(), find: by(s)}
	var c ue.Config
	if err := (&line{}).find(a, &c, "pcscf.ims.example.org", "5061", "ims.example.org"); err != nil || c.Discover == nil || c.Proxy.String() != "192.0.2.1:5061" {
		t.Fatalf("%v, %v", c.Proxy, err)
	}
	s.Zone("_sips._tcp.ims.example.org. 60 IN SRV 1 1 5061 a.ims.example.org.\na.ims.example.org. 60 IN A 192.0.2.5\n")
	if all, err := c.Discover(t.Context()); err != nil || len(all) != 1 || all[0].String() != "192.0.2.5:5061" {
		t.Errorf("%v, %v", all, err)
	}
	c = ue.Config{}
	if err := (&line{Proxy: []string{"192.0.2.1:5061"}}).find(a, &c, "", "5061", ""); err != nil || c.Discover != nil {
		t.Errorf("%v, and it would look again: %v", err, c.Discover != nil)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&line{}).find(&app{ctx: ended, find: by(s)}, &c, "pcscf.ims.example.org", "5061", "ims.example.org"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestUE_by_DNS: without --proxy a client goes where the SRV records of its home domain lead: to the second where nobody is at the first.
func TestUE_by_DNS(t *testing.T) {
	d := newDesk(t)
	defer d.start()()
	d.do("user", "add", "alice", "--random", "--card-out", d.path("alice"))
	port := netip.MustParseAddrPort(d.proxy).Port()
	d.find = by(nameserver.Start(t, fmt.Sprintf(`
_sips._tcp.%[1]s. 60 IN SRV 1 1 1 a.%[1]s.
_sips._tcp.%[1]s. 60 IN SRV 2 1 %[2]d a.%[1]s.
a.%[1]s. 60 IN A 127.0.0.1
`, testDomain, port)))
	e := events(t, d.do("ue", "register", "--card", d.path("alice"), "--ca", d.path("ca.crt"), "--json"))
	if r := e["registered"]; r.Proxy != d.proxy {
		t.Errorf("%+v, want it at %s", r, d.proxy)
	}
}
