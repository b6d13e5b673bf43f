package live

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/iface/clientweb"
	"imsafe/proto/oauth"
	"imsafe/test/postgres"
)

// togetherOrigin is where clients fetch from a network that stands on two nodes: they are told one name, and come to either.
var togetherOrigin = "https://" + clientweb.Host(Domain)

// founds gives the network an authority, which the first node is told of, and waits until both have it.
func (g *together) founds(ctx context.Context) *ca.Root {
	g.t.Helper()
	root, err := ca.NewRoot(rand.Reader, time.Now, Domain, time.Hour)
	if err != nil {
		g.t.Fatal(err)
	}
	g.installs(ctx, root)
	g.agree(ctx, 1)
	return root
}

// installs gives it an intermediate.
func (g *together) installs(ctx context.Context, root *ca.Root) {
	g.t.Helper()
	authority := g.nodes[0].Authority
	g.until(ctx, "it is newer than the one before, by a certificate's clock", func() bool {
		list := authority.Issuers()
		return len(list) == 0 || time.Since(list[0].NotBefore) > 5*time.Minute+time.Second
	})
	request, err := authority.Request()
	if err == nil {
		request, err = root.Sign(request, time.Hour)
	}
	if err == nil {
		err = authority.Install(request)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	newest := authority.Issuers()[0]
	g.until(ctx, "both have the intermediate", func() bool {
		list := g.nodes[1].Authority.Issuers()
		return len(list) > 0 && list[0].Equal(newest)
	})
}

// agree waits until both nodes know the same keys by which the network signs: so many of calls, and as many of tokens.
func (g *together) agree(ctx context.Context, keys int) {
	g.t.Helper()
	g.until(ctx, "both nodes know the same keys", func() bool {
		a, b := g.nodes[0].Signs(), g.nodes[1].Signs()
		return len(a) == 2*keys && slices.Equal(a, b)
	})
}

// until waits for a condition.
func (g *together) until(ctx context.Context, what string, holds func() bool) {
	g.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.t.Fatalf("%s: not so when the test ends", what)
		}
	}
}

// web is how a client fetches that always comes to the one node.
func (g *together) web(node int, root *ca.Root) *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root.Certificate())
	w := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, g.https[node].String())
	}}
	g.t.Cleanup(w.CloseIdleConnections)
	return w
}

// fetches lets a client believe nobody but the network, whose certificates and pages it fetches from one node.
func (g *together) fetches(node int, root *ca.Root) func(*ue.Config) {
	w := g.web(node, root)
	return func(c *ue.Config) {
		c.Web, c.Vouching = w, &ue.Vouching{Roots: w.TLSClientConfig.RootCAs, Fetch: ue.Fetch(w), Required: true}
	}
}

// people are a client at each node, who believe nobody but the network, and fetch from the node where they are not.
func (g *together) people(ctx context.Context, root *ca.Root) (people [2]*ue.UE, users []*User, calls [2]chan *ue.Call) {
	g.t.Helper()
	users = NewUsers("user", 2, AKAv2)
	if err := (&Node{Node: g.nodes[0].Node}).Provision(ctx, users...); err != nil {
		g.t.Fatal(err)
	}
	for i := range people {
		calls[i] = make(chan *ue.Call, 1)
		people[i], _ = g.telephone(g.card(users[i]), ue.TLS, calls[i], g.fetches(1-i, root), i)
		if _, err := people[i].Register(ctx); err != nil {
			g.t.Fatal(err)
		}
	}
	return people, users, calls
}

// TestTogether_vouched: two clients that believe nobody but the network are each at a node of their own, whose media are anchored, and call each other. Each
// fetches certificates from the other's node. So it stays when another intermediate issues, and when a node has started anew.
func TestTogether_vouched(t *testing.T) {
	g := newTogether(t, postgres.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), 3*Patience)
	defer cancel()
	root := g.founds(ctx)
	people, users, calls := g.people(ctx, root)
	both := func() {
		t.Helper()
		for i := range people {
			g.vouched(ctx, people[i], users[1-i].IMPU, calls[1-i])
		}
	}
	both()
	g.installs(ctx, root)
	g.agree(ctx, 2)
	both()
	before := g.nodes[0].Signs()
	g.nodes[0].Stop()
	g.start(0)
	if after := g.nodes[0].Signs(); !slices.Equal(after, before) {
		t.Errorf("a node that has started signs with %s, the other with %s", after, before)
	}
	again, _ := g.telephone(g.card(users[0]), ue.TLS, calls[0], g.fetches(1, root), 0)
	if _, err := again.Register(ctx); err != nil {
		t.Fatal(err)
	}
	people[0] = again
	both()
}

// vouched lets one call the other, until both hear each other and are told of each other by the network.
func (g *together) vouched(ctx context.Context, caller *ue.UE, to string, incoming chan *ue.Call) {
	g.t.Helper()
	out, err := caller.Call(ctx, to, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		g.t.Error(err)
		return
	}
	select {
	case in := <-incoming:
		in.Answer(ue.Voice{Play: media.NewTone(620, -10)})
		for _, c := range []*ue.Call{out, in} {
			if _, err := c.Until(ctx, ue.Secured); err != nil {
				g.t.Error(err)
				return
			}
			if v := c.Vouched(); v.By != Domain {
				g.t.Errorf("%+v", v)
			}
		}
		out.Hangup()
		<-in.Done()
	case <-out.Done():
		g.t.Errorf("the call ends with %d, %v", out.Result().Code, out.Result().Err)
	case <-ctx.Done():
		g.t.Error(ctx.Err())
	}
}

// TestTogether_fetched: a client that has registered at one node fetches its page from the other, and a service may fetch the keys of tokens from either.
func TestTogether_fetched(t *testing.T) {
	g := newTogether(t, postgres.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), 3*Patience)
	defer cancel()
	root := g.founds(ctx)
	people, users, _ := g.people(ctx, root)
	page := togetherOrigin + "/registration"
	for i, x := range people {
		p, err := x.Get(ctx, page)
		if err != nil || p.Status != http.StatusOK || !strings.Contains(string(p.Body), `"sub":"`+users[i].IMPU+`"`) {
			t.Fatalf("%d %s, %v", p.Status, p.Body, err)
		}
		keys, err := ue.Fetch(g.web(i, root))(ctx, togetherOrigin+"/token/keys")
		if err != nil {
			t.Fatal(err)
		}
		service, err := oauth.NewVerifier(togetherOrigin, togetherOrigin, keys, time.Now) // its token is of the other node
		if err != nil {
			t.Fatal(err)
		}
		token, proof, err := x.Token(ctx, togetherOrigin, http.MethodGet, page)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
		if who, err := service.Admit(r); err != nil || who.Subject != users[i].IMPU {
			t.Errorf("a service that has the keys of the other node: %+v, %v", who, err)
		}
	}
}

// TestTogether_origins: a node that comes back with another https origin than the other one says so, and so does the other one.
func TestTogether_origins(t *testing.T) {
	g := newTogether(t, postgres.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g.nodes[1].Stop()
	g.configs[1].HTTPS.Origin = "https://cs.ims.example:8443"
	g.start(1)
	for i := range g.nodes {
		g.until(ctx, "a word of both nodes", func() bool {
			said := string(g.nodes[i].log.bytes())
			return strings.Contains(said, "different https origins") && strings.Contains(said, togetherOrigin) && strings.Contains(said, g.configs[1].HTTPS.Origin)
		})
	}
}
