package live

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/proto/siptxn"
	"imsafe/test/postgres"
)

// access is a client of one access profile, and what it was told of its registration.
type access struct {
	*ue.UE
	user    *User
	card    *isim.Card
	end     func()
	calls   chan *ue.Call
	read    chan ue.Message
	changes chan ue.Registration
}

// everyAccess are a client over each access profile, provisioned and not registered.
func (g *together) everyAccess(ctx context.Context) (all map[ue.Transport]*access) {
	g.t.Helper()
	people, all := &Node{Node: g.nodes[0].Node}, map[ue.Transport]*access{}
	for transport, name := range accesses {
		scheme := AKAv1
		if transport == ue.TLS {
			scheme = AKAv2
		}
		user := NewUsers(name, 1, scheme)[0]
		if err := people.Provision(ctx, user); err != nil {
			g.t.Fatal(err)
		}
		all[transport] = &access{user: user, card: g.card(user), calls: make(chan *ue.Call, 8), read: make(chan ue.Message, 8)}
	}
	return all
}

// registers makes the client, which knows the nodes in this order, and registers it.
func (g *together) registers(ctx context.Context, a *access, transport ue.Transport, nodes ...int) {
	g.t.Helper()
	if a.UE != nil {
		a.end()
	}
	changes := make(chan ue.Registration, 64) // what one of before was told is over
	a.changes = changes
	a.UE, a.end = g.telephone(a.card, transport, a.calls, func(c *ue.Config) {
		quick := siptxn.Derive(50*time.Millisecond, 200*time.Millisecond, 250*time.Millisecond) // timers B and F after 3.2 s
		c.Timers, c.OnRegistration = &quick, func(r ue.Registration) { changes <- r }
		c.OnMessage = func(m ue.Message) { a.read <- m }
	}, nodes...)
	if _, err := a.Register(ctx); err != nil {
		g.t.Fatalf("%s: %v", a.user.Name, err)
	}
}

// comesBack waits until a client is registered again, and returns why it had to.
func (a *access) comesBack(ctx context.Context, t *testing.T) (r ue.Registration, why error) {
	t.Helper()
	for lost := false; ; {
		select {
		case r = <-a.changes:
			if r.Err != nil {
				lost, why = true, r.Err
			}
			if lost && r.State == ue.Registered {
				return r, why
			}
		case <-ctx.Done():
			t.Fatalf("it is not registered again: %v", why)
		}
	}
}

// served returns which S-CSCF a client's requests go to.
func served(r *ue.Registration) string { return strings.Join(r.ServiceRoute, " ") }

var accesses = map[ue.Transport]string{ue.TLS: "tls", ue.IPsecUDP: "ipsec", ue.IPsecTCP: "ipsec-stream", ue.UDP: "lab-udp", ue.TCP: "lab-tcp"}

// TestTogether_restoration: the S-CSCF of clients is gone, their P-CSCF is up. The next request of each, over whatever access, is answered 504 with the order to register
// anew, which it follows by itself; then it is served by an S-CSCF that is there, and is reached (TS 24.229 5.1.2A.1.6, 5.2.6.3.2A, 7.6; TS 23.380 4.4).
func TestTogether_restoration(t *testing.T) {
	g := newTogether(t, postgres.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), 3*Patience)
	defer cancel()
	all := g.everyAccess(ctx)
	for transport, a := range all {
		g.registers(ctx, a, transport, 1) // there, to be assigned its S-CSCF
		before, _ := a.Registration(ctx)
		g.registers(ctx, a, transport, 0)
		now, _ := a.Registration(ctx)
		if before.ServiceRoute[0] != now.ServiceRoute[0] || !strings.Contains(served(&now), "scscf.b.") {
			t.Fatalf("%s is served by %s, then %s", a.user.Name, served(&before), served(&now))
		}
	}
	g.nodes[1].Stop()
	for _, a := range all {
		var status *ue.StatusError
		if err := a.SendMessage(ctx, a.user.IMPU, "text/plain", []byte("lost")); !errors.As(err, &status) || status.Code != 504 {
			t.Errorf("%s: %v, want 504", a.user.Name, err)
		}
		r, why := a.comesBack(ctx, t)
		if !errors.As(why, &status) || !strings.Contains(served(&r), "scscf.a.") {
			t.Errorf("%s registers again since %v, and is served by %s", a.user.Name, why, served(&r))
		}
	}
	g.reachEachOther(ctx, all)
}

// TestTogether_failover: the node of clients is gone, P-CSCF and S-CSCF. Each goes on at the other node by itself, over whatever access: where there is a connection when that
// ends, elsewhere when an INVITE has not even
// a 100 (timer B), or when a REGISTER has no answer, which is sent since a message had none (timer F; TS 24.229 5.1.1.4.1). It is reached there.
func TestTogether_failover(t *testing.T) {
	g := newTogether(t, postgres.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), 3*Patience)
	defer cancel()
	all := g.everyAccess(ctx)
	for transport, a := range all {
		g.registers(ctx, a, transport, 0, 1)
	}
	g.nodes[0].Stop()
	for transport, a := range all {
		switch transport {
		case ue.IPsecUDP, ue.IPsecTCP:
			if _, err := a.Call(ctx, a.user.IMPU, ue.Voice{}); err != nil {
				t.Fatalf("%s: %v", a.user.Name, err)
			}
		case ue.UDP: // for which a call is too large
			go func() { _ = a.SendMessage(ctx, a.user.IMPU, "text/plain", []byte("lost")) }() // what becomes of it is looked at below
		} // the others know already: their connection has ended
	}
	for _, a := range all {
		r, why := a.comesBack(ctx, t)
		t.Logf("%s goes on at %v: %v", a.user.Name, r.Proxy, why)
		if r.Proxy.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 2}) {
			t.Errorf("%s is registered at %v", a.user.Name, r.Proxy)
		}
	}
	g.reachEachOther(ctx, all)
	delete(all, ue.UDP)
	for _, a := range all {
		g.talks(ctx, a.UE, all[ue.TLS].user.IMPU, all[ue.TLS].calls)
		g.talks(ctx, all[ue.TLS].UE, a.user.IMPU, a.calls)
	}
}

// reachEachOther lets each client write to each.
func (g *together) reachEachOther(ctx context.Context, all map[ue.Transport]*access) {
	g.t.Helper()
	for _, a := range all {
		for _, b := range all {
			err := a.SendMessage(ctx, b.user.IMPU, "text/plain", []byte("hello"))
			if err == nil {
				select {
				case <-b.read:
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			if err != nil {
				g.t.Errorf("then, from %s to %s: %v", a.user.Name, b.user.Name, err)
			}
		}
	}
}
