package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"imsafe/proto/sip"
)

var pool = sip.NewPool(sip.Limits{Poison: true})

func translator() *Translator {
	return New(Config{Host: "old.as.ims.example", Local: netip.MustParseAddrPort("127.0.0.1:5090"), Server: netip.MustParseAddrPort("127.0.0.1:5080"), Key: [32]byte{1}})
}

func parse(t *testing.T, lines ...string) *sip.Message {
	t.Helper()
	m, err := pool.Parse([]byte(strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func values(m *sip.Message, h sip.HeaderID) string {
	var all []string
	for v := range m.Values(h) {
		all = append(all, string(v))
	}
	return strings.Join(all, " ")
}

// server is an application server that proxies by RFC 3261 16: it takes its own entry off Route, adds one to Record-Route and goes where
// the topmost Route leads.
func server(t *testing.T, m *sip.Message) (to string) {
	t.Helper()
	if v := m.Get(sip.HdrRoute); v != nil && strings.Contains(string(v), "127.0.0.1:5080") {
		m.RemoveFirst(sip.HdrRoute)
	}
	if len(m.ToTag()) == 0 {
		m.PrependString(sip.HdrRecordRoute, "<sip:127.0.0.1:5080;lr;ftag=x>")
	}
	uri, err := uriOf(m.Get(sip.HdrRoute))
	if err != nil {
		t.Fatalf("the server finds no way: %s", m.AppendTo(nil))
	}
	m.PrependString(sip.HdrVia, "SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKserver")
	return hostPort(&uri)
}

// TestProxied: a call through a server that proxies, and the requests of its dialog from both ends.
func TestProxied(t *testing.T) {
	p := translator()
	invite := parse(t, "INVITE sip:bob@ims.example SIP/2.0", "Via: SIP/2.0/TLS scscf.ims.example;branch=z9hG4bKcore", "Max-Forwards: 60",
		"Route: <sips:old.as.ims.example:5061;lr>", "Route: <sip:token@scscf.ims.example;lr>",
		"Record-Route: <sip:orig@scscf.ims.example;lr>", "From: <sip:alice@ims.example>;tag=a", "To: <sip:bob@ims.example>", "Call-ID: c",
		"CSeq: 1 INVITE", "Contact: <sip:alice@192.0.2.1>")
	if err := p.ToServer(invite); err != nil {
		t.Fatal(err)
	}
	if to := server(t, invite); to != "127.0.0.1:5090" {
		t.Fatalf("the server sends to %s", to)
	}
	if err := p.ToCore(invite); err != nil {
		t.Fatal(err)
	}
	if got := values(invite, sip.HdrRoute); got != "<sip:token@scscf.ims.example;lr>" {
		t.Errorf("Route: %s", got)
	}
	route := values(invite, sip.HdrRecordRoute)
	if !strings.HasPrefix(route, "<sip:old.as.ims.example;lr;server=") || !strings.HasSuffix(route, "> <sip:orig@scscf.ims.example;lr>") {
		t.Errorf("Record-Route: %s", route)
	}
	if got := string(invite.Get(sip.HdrContact)); got != "<sip:alice@192.0.2.1>" {
		t.Errorf("Contact: %s", got)
	}

	ok := pool.NewResponse(invite, 200, "")
	for v := range invite.Values(sip.HdrRecordRoute) {
		ok.Append(sip.HdrRecordRoute, v)
	}
	if err := p.ToServer(ok); err != nil {
		t.Fatal(err)
	}
	if via := string(ok.Get(sip.HdrVia)); !strings.HasPrefix(via, "SIP/2.0/UDP 127.0.0.1:5080;") {
		t.Errorf("the server's Via is not on top: %s", via)
	}
	ok.RemoveFirst(sip.HdrVia)
	if err := p.ToCore(ok); err != nil {
		t.Fatal(err)
	}
	if got := values(ok, sip.HdrRecordRoute); got != route {
		t.Errorf("Record-Route came back as %s, was %s", got, route)
	}
	if via := string(ok.Get(sip.HdrVia)); !strings.Contains(via, "z9hG4bKcore") {
		t.Errorf("Via: %s", via)
	}

	entry, _, _ := strings.Cut(route, " ")
	bye := parse(t, "BYE sip:bob@192.0.2.2 SIP/2.0", "Via: SIP/2.0/TLS scscf.ims.example;branch=z9hG4bKbye", "Route: "+entry,
		"Route: <sip:between@scscf.ims.example;lr>", "From: <sip:alice@ims.example>;tag=a", "To: <sip:bob@ims.example>;tag=b", "Call-ID: c", "CSeq: 2 BYE", "Max-Forwards: 60")
	if err := p.ToServer(bye); err != nil {
		t.Fatal(err)
	}
	if top := string(bye.Get(sip.HdrRoute)); top != "<sip:127.0.0.1:5080;lr;ftag=x>" {
		t.Errorf("the server is asked by %s", top)
	}
	if to := server(t, bye); to != "127.0.0.1:5090" {
		t.Errorf("the server sends the BYE to %s", to)
	}
	if err := p.ToCore(bye); err != nil {
		t.Fatal(err)
	}
	if got := values(bye, sip.HdrRoute); got != "<sip:between@scscf.ims.example;lr>" {
		t.Errorf("Route: %s", got)
	}
}

// TestAnswered: a server that answers itself is found again by its contact, and by nobody's who makes one up.
func TestAnswered(t *testing.T) {
	p := translator()
	invite := parse(t, "INVITE sip:echo@ims.example SIP/2.0", "Via: SIP/2.0/TLS scscf.ims.example;branch=z9hG4bKcore", "Max-Forwards: 60",
		"Route: <sips:old.as.ims.example:5061;lr>", "Route: <sip:token@scscf.ims.example;lr>", "Record-Route: <sip:term@scscf.ims.example;lr>",
		"From: <sip:alice@ims.example>;tag=a", "To: <sip:echo@ims.example>", "Call-ID: c", "CSeq: 1 INVITE", "Contact: <sip:alice@192.0.2.1>")
	if err := p.ToServer(invite); err != nil {
		t.Fatal(err)
	}
	ok := pool.NewResponse(invite, 200, "")
	ok.SetString(sip.HdrContact, "<sip:echo@127.0.0.1:5080;transport=udp>")
	for v := range invite.Values(sip.HdrRecordRoute) {
		ok.Append(sip.HdrRecordRoute, v)
	}
	if err := p.ToCore(ok); err != nil {
		t.Fatal(err)
	}
	if got := values(ok, sip.HdrRecordRoute); got != "<sip:term@scscf.ims.example;lr>" {
		t.Errorf("Record-Route: %s", got)
	}
	contact := string(rawURI(ok.Get(sip.HdrContact)))
	bye := func(uri string) string {
		m := parse(t, "BYE "+uri+" SIP/2.0", "Via: SIP/2.0/TLS scscf.ims.example;branch=z9hG4bKbye", "From: <sip:a@ims.example>;tag=a",
			"To: <sip:echo@ims.example>;tag=b", "Call-ID: c", "CSeq: 2 BYE", "Max-Forwards: 60")
		if err := p.ToServer(m); err != nil {
			t.Fatal(err)
		}
		return string(m.RequestURI())
	}
	if got := bye(contact); got != "sip:echo@127.0.0.1:5080;transport=udp" {
		t.Errorf("the server is called %s", got)
	}
	forged := New(Config{Host: p.c.Host, Local: p.c.Local, Server: p.c.Server, Key: [32]byte{2}})
	made := "sip:x@old.as.ims.example;server=" + forged.seal([]byte("sip:admin@127.0.0.1:8080"))
	if got := bye(made); got != made {
		t.Errorf("a stranger's contact leads to %s", got)
	}
	if route := values(parseServer(t, p, made), sip.HdrRoute); strings.Contains(route, "8080") {
		t.Errorf("a stranger's entry leads to %s", route)
	}
}

func parseServer(t *testing.T, p *Translator, entry string) *sip.Message {
	t.Helper()
	m := parse(t, "BYE sip:x@y SIP/2.0", "Via: SIP/2.0/TLS scscf.ims.example;branch=z9hG4bKbye", "Route: <"+entry+">", "From: <sip:a@b>;tag=a",
		"To: <sip:a@b>;tag=b", "Call-ID: c", "CSeq: 2 BYE", "Max-Forwards: 60")
	if err := p.ToServer(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestStrangersResponses: a response that answers nothing that went this way does not pass.
func TestStrangersResponses(t *testing.T) {
	p := translator()
	m := parse(t, "SIP/2.0 200 OK", "Via: SIP/2.0/UDP 127.0.0.1:5090;branch=z9hG4bKguessed", "Via: SIP/2.0/TLS scscf.ims.example;branch=z9hG4bKcore",
		"From: <sip:a@b>;tag=a", "To: <sip:a@b>;tag=b", "Call-ID: c", "CSeq: 1 INVITE")
	if err := p.ToCore(m); err != ErrVia {
		t.Errorf("passes: %v", err)
	}
}

// FuzzProxy: whatever comes, from either side, is rewritten or refused, and what is rewritten parses.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("INVITE sip:bob@ims.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bKx\r\nRoute: <sip:old.as.ims.example;server=AAAA>\r\nContact: <sip:127.0.0.1>\r\nFrom: <sip:a@b>;tag=a\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"), true)
	p := translator()
	f.Fuzz(func(t *testing.T, data []byte, down bool) {
		m, err := pool.Parse(data)
		if err != nil {
			return
		}
		defer m.Release()
		way := p.ToCore
		if down {
			way = p.ToServer
		}
		if way(m) != nil {
			return
		}
		out, err := pool.Parse(m.AppendTo(nil))
		if err != nil {
			t.Fatalf("%v\n%s", err, m.AppendTo(nil))
		}
		out.Release()
	})
}
