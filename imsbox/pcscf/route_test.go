package pcscf

import (
	"slices"
	"strings"
	"testing"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/slab"
	"imsafe/secure"
)

func edge(t *testing.T) (*PCSCF, secure.Association) {
	t.Helper()
	sealer := shard.NewSealer(shard.SealingKey{1})
	return &PCSCF{cfg: Config{Name: "pcscf.ims.example", Home: "ims.example"}, ports: Ports{Sealer: sealer}, ties: newTies(sealer),
		registrations: slab.New(slab.Config{})}, secure.Association{Node: 1, Slot: 2, Gen: 3}
}

// TestRecordRoute: a client over TLS or inside IPsec has an entry of its own, on its side; both come off Route together.
func TestRecordRoute(t *testing.T) {
	pool := sip.NewPool(sip.Limits{})
	for name, c := range map[string]struct {
		edge string
		side side
		want []string // hosts and what follows, from the top
	}{
		"from a client in the lab":   {"", towardsCore, []string{"pcscf.ims.example;lr"}},
		"from a client over TLS":     {edgeTLS, towardsCore, []string{"pcscf.ims.example;lr", "pcscf.ims.example;lr;transport=tls"}},
		"to a client over TLS":       {edgeTLS, towardsClient, []string{"pcscf.ims.example;lr;transport=tls", "pcscf.ims.example;lr"}},
		"from a client inside IPsec": {"192.0.2.1:5999", towardsCore, []string{"pcscf.ims.example;lr", "192.0.2.1:5999;lr"}},
		"to a client inside IPsec":   {"[2001:db8::1]:5999", towardsClient, []string{"[2001:db8::1]:5999;lr", "pcscf.ims.example;lr"}},
	} {
		p, a := edge(t)
		p.keep(a, kept{contact: "sip:alice@192.0.2.1", edge: c.edge})
		in := hop.Inbound{Msg: pool.NewRequest(sip.INVITE, "sip:bob@ims.example")}
		p.recordRoute(in, a, c.side, 0)
		var got []string
		for v := range in.Msg.Values(sip.HdrRecordRoute) {
			_, host, _ := strings.Cut(strings.Trim(string(v), "<>"), "@")
			got = append(got, host)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}

		next := hop.Inbound{Msg: pool.NewRequest(sip.BYE, "sip:bob@ims.example")}
		for v := range in.Msg.Values(sip.HdrRecordRoute) {
			next.Msg.Append(sip.HdrRoute, v)
		}
		next.Msg.AppendString(sip.HdrRoute, "<sip:orig@scscf.ims.example;lr>")
		e, ours := p.takeRoute(next)
		if rest := next.Msg.Count(sip.HdrRoute); !ours || e.association != a || rest != 1 {
			t.Errorf("%s: %v, %v, %d entries are left", name, e, ours, rest)
		}
	}
}

// TestTakeRoute_of_another_association: two entries below each other that are of different clients are no twins.
func TestTakeRoute_of_another_association(t *testing.T) {
	p, a := edge(t)
	other := secure.Association{Node: 1, Slot: 9, Gen: 1}
	in := hop.Inbound{Msg: sip.NewPool(sip.Limits{}).NewRequest(sip.BYE, "sip:bob@ims.example")}
	for _, x := range []secure.Association{a, other} {
		in.Msg.Append(sip.HdrRoute, p.appendToken(nil, tokenDialog, x, string(p.cfg.Name), ""))
	}
	if e, ours := p.takeRoute(in); !ours || e.association != a || in.Msg.Count(sip.HdrRoute) != 1 {
		t.Errorf("%v, %v, %d entries are left", e, ours, in.Msg.Count(sip.HdrRoute))
	}
}

// TestPrivateIdentity: who names none goes by the public identity where that is allowed, and is written down.
func TestPrivateIdentity(t *testing.T) {
	pool := sip.NewPool(sip.Limits{})
	for name, c := range map[string]struct {
		authorization, to string
		derive            bool
		want              string
		ok                bool
	}{
		"named":                    {`Digest username="a@ims.example"`, "sip:b@ims.example", true, "a@ims.example", true},
		"not named":                {"", "sip:b@ims.example", true, "b@ims.example", true},
		"not named, nor allowed":   {"", "sip:b@ims.example", false, "", true},
		"an empty name":            {`Digest username="", realm="x"`, "sip:b@ims.example", true, "b@ims.example", true},
		"a tel URI":                {"", "tel:+15550100", true, "", true},
		"malformed":                {`Digest username="a`, "sip:b@ims.example", true, "", false},
		"another scheme":           {"Basic YTpi", "sip:b@ims.example", true, "", false},
		"no To that could be read": {"", "nobody", true, "", false},
	} {
		p, _ := edge(t)
		p.cfg.DerivePrivate = c.derive
		m := pool.NewRequest(sip.REGISTER, "sip:ims.example")
		m.SetString(sip.HdrTo, "<"+c.to+">")
		if c.to == "nobody" {
			m.SetString(sip.HdrTo, "nobody")
		}
		if c.authorization != "" {
			m.SetString(sip.HdrAuthorization, c.authorization)
		}
		impi, ok := p.privateIdentity(m)
		if impi != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v; want %q, %v", name, impi, ok, c.want, c.ok)
		}
		if !ok || impi == "" {
			continue
		}
		p.nameUser(hop.Inbound{Msg: m}, impi)
		if cred, err := sip.ParseCredentials(m.Get(sip.HdrAuthorization)); err != nil || c.authorization == "" && string(cred.Username) != impi {
			t.Errorf("%s: %s, %v", name, m.Get(sip.HdrAuthorization), err)
		}
	}
}
