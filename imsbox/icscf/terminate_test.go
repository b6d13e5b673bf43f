package icscf

import (
	"fmt"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/secure"
	"imsafe/secure/mint"
)

const home = "ims.example"

// registry is an HSS that knows where identities are.
type registry struct {
	cx.Server
	at map[cx.IMPU]any // *cx.LocationInfoAnswer or error
}

func (r *registry) LocationInfo(_ *shard.Task, q *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	switch a := r.at[q.IMPU].(type) {
	case *cx.LocationInfoAnswer:
		return a, nil
	case error:
		return nil, a
	}
	return nil, cx.ErrUserUnknown
}

// replies keeps the last final response.
type replies struct{ status int }

func (e *replies) Reply(_ *hop.Exchange, r hop.Reply) {
	e.status = r.Status()
	r.Msg.Release()
}

type function func(*hop.Exchange, hop.Inbound) hop.Reply

func (f function) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply { return f(x, in) }

// call sends a MESSAGE to uri with a P-Profile-Key that the sender made up, and returns who got it, what it was and how it was answered.
func call(t *testing.T, uri string, at map[cx.IMPU]any) (who hop.Name, seen string, status int) {
	t.Helper()
	pool := sip.NewPool(sip.Limits{Poison: true})
	sh := shard.New(shard.Config{Node: 1, Clock: shard.NewFake(time.Unix(1700000000, 0)), Inbox: 64})
	t.Cleanup(sh.Close)
	table := hop.NewTable(hop.Direct, pool, secure.NewGate(nil, nil), [16]byte{1})
	i, err := New(Config{Name: "icscf." + home, Domain: home,
		SCSCFs: []Server{{Name: "first", Capabilities: []uint32{1}}, {Name: "second", Capabilities: []uint32{1, 2}}, {Name: "third", Capabilities: []uint32{1, 2, 3}}}},
		Ports{Cx: &registry{at: at}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []hop.Name{"first", "second", "third", "as." + home} {
		if err := table.Plug(name, function(func(x *hop.Exchange, in hop.Inbound) hop.Reply {
			who, seen = name, fmt.Sprintf("%s key=%s", in.Msg.RequestURI(), in.Msg.Get(sip.HdrPProfileKey))
			return x.Refuse(in, 200, "")
		})); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Plug("icscf."+home, i); err != nil {
		t.Fatal(err)
	}
	m, err := pool.Parse(fmt.Appendf(nil, "MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/UDP ue;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@x>;tag=a\r\n"+
		"To: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nP-Profile-Key: <sip:mine!.*!@x>\r\n\r\n", uri))
	if err != nil {
		t.Fatal(err)
	}
	edge := &replies{}
	sh.Exec(shard.EventFunc(func(sh *shard.Shard) {
		table.Begin(sh, edge, "door", "icscf."+home, hop.Inbound{Msg: m.Clone(), Proof: mint.Access(mint.Client{IMPI: "a@x"})}, m)
	}))
	return who, seen, edge.status
}

func TestTerminate(t *testing.T) {
	served := func(server string, wildcard cx.IMPU) *cx.LocationInfoAnswer {
		return &cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: server, WildcardedIMPU: wildcard}
	}
	selected := func(c *cx.ServerCapabilities) *cx.LocationInfoAnswer {
		return &cx.LocationInfoAnswer{Result: cx.ResultUnregisteredService, Capabilities: c}
	}
	service := &cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: "sip:chat@as." + home + ":5060", PSIDirectRouting: true, WildcardedIMPU: "sip:room!.*!@" + home}
	elsewhere := &cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: "sip:as.elsewhere.example", PSIDirectRouting: true}
	const sip1, tel1, sipTel1 = "sip:room-1@" + home, "tel:+15550100", "sip:+15550100@" + home
	for name, c := range map[string]struct {
		uri    string
		at     map[cx.IMPU]any
		who    hop.Name
		seen   string
		status int
	}{
		"distinct":      {sip1, map[cx.IMPU]any{sip1: served("sip:first", "")}, "first", sip1 + " key=", 200},
		"a range":       {sip1, map[cx.IMPU]any{sip1: served("sip:first;lr", "sip:room!.*!@"+home)}, "first", sip1 + " key=<sip:room!.*!@" + home + ">", 200},
		"escaped":       {sip1, map[cx.IMPU]any{sip1: served("sip:first", "sip:room-![0-9]!@"+home)}, "first", sip1 + " key=<sip:room-!%5B0-9%5D!@" + home + ">", 200},
		"no expression": {sip1, map[cx.IMPU]any{sip1: served("sip:first", "sip:room@"+home)}, "first", sip1 + " key=<sip:room@" + home + ">", 200},
		"one's own comes before a range": {tel1, map[cx.IMPU]any{tel1: served("sip:first", "tel:+1555!.*!"), sipTel1: served("sip:second", "")},
			"second", sipTel1 + " key=", 200},
		"a range of numbers": {tel1, map[cx.IMPU]any{tel1: served("sip:first", "tel:+1555!.*!")}, "first", tel1 + " key=<tel:+1555!.*!>", 200},
		"a range, and nobody is registered by the other": {tel1, map[cx.IMPU]any{tel1: served("sip:first", "tel:+1555!.*!"), sipTel1: cx.ErrIdentityNotRegistered},
			"first", tel1 + " key=<tel:+1555!.*!>", 200},
		"unknown":                  {tel1, nil, "", "", 404},
		"not registered":           {tel1, map[cx.IMPU]any{tel1: cx.ErrIdentityNotRegistered}, "", "", 480},
		"any S-CSCF":               {sip1, map[cx.IMPU]any{sip1: selected(nil)}, "first", sip1 + " key=", 200},
		"mandatory":                {sip1, map[cx.IMPU]any{sip1: selected(&cx.ServerCapabilities{Mandatory: []uint32{2}})}, "second", sip1 + " key=", 200},
		"optional":                 {sip1, map[cx.IMPU]any{sip1: selected(&cx.ServerCapabilities{Mandatory: []uint32{1}, Optional: []uint32{3, 2}})}, "third", sip1 + " key=", 200},
		"none is able":             {sip1, map[cx.IMPU]any{sip1: selected(&cx.ServerCapabilities{Mandatory: []uint32{4}})}, "", "", 600},
		"named":                    {sip1, map[cx.IMPU]any{sip1: selected(&cx.ServerCapabilities{ServerNames: []string{"sip:other", "sip:third"}, Mandatory: []uint32{9}})}, "third", sip1 + " key=", 200},
		"named, and there is none": {sip1, map[cx.IMPU]any{sip1: selected(&cx.ServerCapabilities{ServerNames: []string{"sip:other"}})}, "", "", 600},
		"an application server":    {sip1, map[cx.IMPU]any{sip1: service}, "as." + home, sip1 + " key=", 200},
		"one without a way":        {sip1, map[cx.IMPU]any{sip1: elsewhere}, "", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			who, seen, status := call(t, c.uri, c.at)
			if who != c.who || seen != c.seen || status != c.status {
				t.Errorf("%s got %q, answered %d; want %s, %q, %d", who, seen, status, c.who, c.seen, c.status)
			}
		})
	}
}

// TestEmergency: a REGISTER whose Contacts are all for emergency calls says so to the HSS (TS 29.228 6.1.1, UAR-Flags).
func TestEmergency(t *testing.T) {
	for contacts, want := range map[string]bool{
		"Contact: <sip:a@1.1.1.1;sos>\r\n": true, "Contact: <sip:a@1.1.1.1;SOS;x=y>;expires=600\r\n": true,
		"Contact: <sip:a@1.1.1.1>\r\n": false, "Contact: <sip:a@1.1.1.1>;sos\r\n": false, "Contact: <sip:sos@1.1.1.1>\r\n": false,
		"Contact: <sip:a@1.1.1.1;sos>\r\nContact: <sip:a@1.1.1.1>\r\n": false, "Contact: *\r\nExpires: 0\r\n": false, "": false,
	} {
		i := &ICSCF{cfg: Config{Domain: home}}
		m, err := sip.NewPool(sip.Limits{}).Parse([]byte("REGISTER sip:" + home + " SIP/2.0\r\nVia: SIP/2.0/UDP ue;branch=z9hG4bK1\r\nFrom: <sip:a@" + home + ">;tag=a\r\n" +
			"To: <sip:a@" + home + ">\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nAuthorization: Digest username=\"a@" + home + "\"\r\nP-Visited-Network-ID: \"else.where\"\r\n" + contacts + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		r, ok := i.authorizationRequest(hop.Inbound{Msg: m})
		if !ok || r.Emergency != want || r.VisitedNetworkID != "else.where" {
			t.Errorf("%q: %+v, %v; want %v", contacts, r, ok, want)
		}
	}
}
