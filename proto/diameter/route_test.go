package diameter

import (
	"errors"
	"testing"
	"testing/synctest"
)

// RFC 6733 2.7, 6.1.4: by host, by realm, by priority; equals take turns; agents reach further.
func TestRoute(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		for _, host := range []string{beta, gamma} {
			w.start(config(host, PeerConfig{Host: alpha, Role: Role{Requests: map[Application][]Command{AppCx: {UAR}}}}))
		}
		ca := config(alpha, PeerConfig{Host: beta, Dial: w.dial(alpha, beta)}, PeerConfig{Host: gamma, Dial: w.dial(alpha, gamma), Agent: true})
		ca.Peers[1].Realms = []string{"far.example"}
		a := w.start(ca)
		synctest.Wait()
		by := func(out Outgoing) string {
			out.Message = request(a.Node, "", nil)
			m, err := a.ask(out)
			if err != nil {
				return err.Error()
			}
			return string(m.Identity(OriginHost))
		}
		seen := map[string]int{}
		for range 10 {
			seen[by(Outgoing{})]++
		}
		if seen[beta] != 5 || seen[gamma] != 5 {
			t.Errorf("equals do not take turns: %v", seen)
		}
		for name, c := range map[string]struct {
			out  Outgoing
			want string
		}{
			"a peer by its name":           {Outgoing{Host: beta}, beta},
			"in any case":                  {Outgoing{Host: "BRAVO.ims.EXAMPLE"}, beta},
			"a host behind the agent":      {Outgoing{Host: "behind.ims.example"}, gamma},
			"a realm behind the agent":     {Outgoing{Realm: "far.example"}, gamma},
			"a realm that nobody serves":   {Outgoing{Realm: "unknown.example"}, ErrNoPeer.Error()},
			"by TLS, where there is none":  {Outgoing{Secure: true}, ErrNoPeer.Error()},
			"a host in a realm of nobody":  {Outgoing{Host: "x.unknown.example", Realm: "unknown.example"}, ErrNoPeer.Error()},
			"the realm, spelled otherwise": {Outgoing{Host: gamma, Realm: "IMS.example"}, gamma},
		} {
			if got := by(c.out); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	})
}

// What the Node does not speak with a peer is not sent to it.
func TestRoute_application_not_in_common(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		cb := config(beta, PeerConfig{Host: alpha})
		cb.Applications = []ApplicationConfig{{ID: AppSh, Vendor: Vendor3GPP}}
		ca := config(alpha, PeerConfig{Host: beta, Dial: w.dial(alpha, beta)})
		ca.Applications = []ApplicationConfig{{ID: AppSh, Vendor: Vendor3GPP}, {ID: AppCx, Vendor: Vendor3GPP}}
		w.start(cb)
		a := w.start(ca)
		synctest.Wait()
		a.wantState("Sh in common", beta, "open")
		if _, err := a.ask(Outgoing{Message: request(a.Node, "", nil)}); !errors.Is(err, ErrNoPeer) {
			t.Errorf("Cx to a peer with Sh: %v", err)
		}
	})
}

func TestNew_refuses(t *testing.T) {
	good := func() Config { return config(alpha, PeerConfig{Host: beta}) }
	w := &network{t: t, nodes: map[string]*house{}}
	h := w.start(good())
	defer h.stop()
	for name, change := range map[string]func(*Config){
		"no host":                       func(c *Config) { c.Host = "" },
		"no realm":                      func(c *Config) { c.Realm = "a b" },
		"no address":                    func(c *Config) { c.Addresses = nil },
		"no shard":                      func(c *Config) { c.Shard = nil },
		"no randomness":                 func(c *Config) { c.Random = nil },
		"a watchdog that barks all day": func(c *Config) { c.Watchdog = 5e9 },
		"a peer twice":                  func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"itself as a peer":              func(c *Config) { c.Peers[0].Host = "ALPHA.ims.example" },
		"a peer without a realm":        func(c *Config) { c.Peers[0].Realm = "" },
		"TLS wanted, none configured":   func(c *Config) { c.Peers[0].Cleartext = false },
		"requests accepted, no handler": func(c *Config) { c.Applications = []ApplicationConfig{{Accepts: map[Command]Grammar{UAR: nil}}} },
		"a grammar longer than Check can": func(c *Config) {
			c.Applications = []ApplicationConfig{{Handler: h, Accepts: map[Command]Grammar{UAR: make(Grammar, maxRules+1)}}}
		},
	} {
		c := good()
		c.Shard = h.sh
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
