package phone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/test/kernelesp/handset"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// bench is the other kernel and the nodes that its telephones register with.
type bench struct {
	kernel *machine.Kernel
	device string
	nodes  []*node
}

// node is one at addresses of its own.
type node struct {
	*live.Node
	name    string
	addr    map[string]netip.Addr // by family
	serial  atomic.Uint32         // of its telephones
	network byte
}

// The nodes' rules. The timers are shorter than radio wants, so that 64*T1, which associations outlive their use by, is 16 s.
var rules = []struct {
	name, profile string
	challenges    bool // every REGISTER is challenged
}{
	{"legacy", "legacy", true}, {"handset", "handset", false}, {"strict", "strict", true},
}

// Nodes by their rules.
const (
	legacy = iota
	handsets
	strict
)

// quick is T1 on Gm in these tests.
const quick = 250 * time.Millisecond

// exempt are the pairs that no profile has, and the private identities that may have them.
var exempt = map[string]handset.Pair{"md5": {Alg: "hmac-md5-96", EAlg: "null"}, "des": {Alg: "hmac-sha-1-96", EAlg: "des-ede3-cbc"}, "both": {Alg: "hmac-md5-96", EAlg: "des-ede3-cbc"}}

// newBench boots a machine and starts a node of each of the rules.
func newBench(t *testing.T, m machine.Machine, families ...string) *bench {
	t.Helper()
	b := &bench{kernel: machine.Boot(t, m, machine.Program{Name: "guest", Package: "imsafe/test/kernelesp/guest"}), device: m.Device}
	for i, r := range rules {
		n := &node{name: r.name, addr: map[string]netip.Addr{}, network: byte(100 + 50*i)}
		for family, addr := range map[string]string{"IPv4": fmt.Sprintf("10.77.0.%d", 1+20*i), "IPv6": fmt.Sprintf("fd77::%d", 1+20*i)} {
			n.addr[family] = netip.MustParseAddr(addr)
			if i > 0 {
				if out, err := exec.Command(peer.Need(t, "ip"), "addr", "add", fmt.Sprintf("%v/%d", addr, n.addr[family].BitLen()), "dev", "peer0", "nodad").CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
		}
		n.Node = live.Start(t, live.Options{Configure: func(c *config.Config) {
			for _, family := range families {
				c.CI.IPsec.Listen = append(c.CI.IPsec.Listen, config.Address{AddrPort: netip.AddrPortFrom(n.addr[family], 5060)})
			}
			c.CI.IPsec.Profile, c.CI.IPsec.ESP = r.profile, "on"
			c.Timers.Gm.T1, c.Timers.Gm.T2, c.Timers.Gm.T4 = config.Of(quick), config.Of(4*quick), config.Of(5*quick)
			if r.challenges {
				c.Registration.Reauthenticate = config.Of(time.Nanosecond)
			}
			if r.profile == "legacy" {
				c.CI.IPsec.Exceptions = exceptions(families)
			}
		}})
		b.nodes = append(b.nodes, n)
	}
	return b
}

// exceptions are for two subscribers of each family and each of the exempt pairs.
func exceptions(families []string) (all []config.CIException) {
	tomorrow := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	for name, p := range exempt {
		for _, family := range families {
			for _, who := range []string{name, "deaf-" + name} {
				all = append(all, config.CIException{IMPI: identity(who + family), Algorithms: []string{p.Alg + "/" + p.EAlg}, Owner: "test", Until: tomorrow})
			}
		}
	}
	return all
}

func identity(name string) string { return name + "@" + live.Domain }

// phone is a telephone in the guest.
type phone struct {
	t *testing.T
	*rpc.Client
	user *live.User
	n    *node
}

// phone switches a telephone on, with a subscription of its own.
func (b *bench) phone(t *testing.T, n *node, family, name string, change func(*handset.Config), pairs ...handset.Pair) *phone {
	t.Helper()
	user := live.NewUsers("kernel", 1, live.AKAv1)[0]
	user.Name, user.IMPI, user.IMPU = name+family, identity(name+family), "sip:"+identity(name+family)
	if err := n.Provision(context.Background(), user); err != nil {
		t.Fatal(err)
	}
	serial := n.serial.Add(1)
	c := handset.Config{Device: b.device, Proxy: n.addr[family], Port: 5060, Domain: live.Domain, IMPI: user.IMPI, IMPU: user.IMPU, K: user.K, OPc: user.OPc,
		Pairs: pairs, Client: 38001, Server: 39001, SPI: 0x1000 + 0x100*serial}
	c.Local = netip.AddrFrom4([4]byte{10, 77, 0, n.network + byte(serial)})
	if family == "IPv6" {
		c.Local = netip.MustParseAddr(fmt.Sprintf("fd77::%x", uint32(n.network)+serial))
	}
	if change != nil {
		change(&c)
	}
	p := &phone{t: t, Client: jsonrpc.NewClient(dial(t)), user: user, n: n}
	t.Cleanup(func() { _ = p.Close() })
	p.do("On", c, nil)
	return p
}

// dial reaches the guest's program, which begins when the guest is ready.
func dial(t *testing.T) net.Conn {
	t.Helper()
	for try := 0; ; try++ {
		c, err := net.DialTimeout("tcp", "10.77.0.2:2424", 5*time.Second)
		if err == nil {
			return c
		}
		if try == 600 {
			t.Fatal("the guest's program: ", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// do is one act of the telephone.
func (p *phone) do(method string, arg, result any) {
	p.t.Helper()
	if result == nil {
		result = &handset.Nothing{}
	}
	if err := p.Call(handset.Name+"."+method, arg, result); err != nil {
		p.t.Fatalf("%s: %s: %v\n%s", p.user.Name, method, err, tail(p.n.Log()))
	}
}

func tail(log []byte) []byte { return log[max(0, len(log)-4000):] }

// challenge sends a REGISTER with an offer and returns the number of the set that its challenge made.
func (p *phone) challenge(set int, transport string) int {
	p.t.Helper()
	var s handset.Status
	p.do("Challenge", handset.Asking{Set: set, Transport: transport, Expires: 600000}, &s)
	if s.Code != 401 {
		p.t.Fatalf("%s: REGISTER was answered %d\n%s", p.user.Name, s.Code, tail(p.n.Log()))
	}
	return s.Set
}

// answer answers the challenge.
func (p *phone) answer(transport string) {
	p.t.Helper()
	var s handset.Status
	p.do("Answer", handset.Asking{Transport: transport, Expires: 600000}, &s)
	if s.Code != 200 || s.Expires < 60 || !strings.Contains(s.Identities, p.user.IMPU) {
		p.t.Fatalf("%s: the answer was answered %+v\n%s", p.user.Name, s, tail(p.n.Log()))
	}
}

// writes sends a MESSAGE that arrives at to.
func (p *phone) writes(to *live.UE, set int, transport string, size int) {
	p.t.Helper()
	body := text(p.user.Name, size)
	var s handset.Status
	p.do("Request", handset.Asking{Method: "MESSAGE", To: to.User.IMPU, Body: body, Set: set, Transport: transport}, &s)
	if s.Code/100 != 2 {
		p.t.Fatalf("%s: MESSAGE was answered %d\n%s", p.user.Name, s.Code, tail(p.n.Log()))
	}
	if m, err := to.Next(); err != nil || m.From != p.user.IMPU || !m.Asserted || string(m.Body) != body {
		p.t.Fatalf("%s: heard from %q, %d octets, %v", p.user.Name, m.From, len(m.Body), err)
	}
}

// hears gets a MESSAGE of from, over the set and transport that it says.
func (p *phone) hears(from *live.UE, size int, set int, transport string) {
	p.t.Helper()
	body := text(from.User.Name, size)
	ctx, cancel := context.WithTimeout(context.Background(), live.Patience)
	defer cancel()
	if err := from.SendMessage(ctx, p.user.IMPU, "text/plain", []byte(body)); err != nil {
		p.t.Fatalf("to %s: %v\n%s", p.user.Name, err, tail(p.n.Log()))
	}
	h := p.next()
	if h.Method != "MESSAGE" || h.Body != body || h.Asserted != from.User.IMPU || h.Set != set || h.Transport != transport || h.ByUs {
		h.Body = fmt.Sprint(len(h.Body), " octets")
		p.t.Fatalf("%s heard %+v; want set %d, %s", p.user.Name, h, set, transport)
	}
}

func (p *phone) next() (h handset.Heard) {
	p.t.Helper()
	p.do("Next", live.Patience, &h)
	return h
}

func text(who string, size int) string { return strings.Repeat(who+" says hello. ", size/10+1)[:size] }

// leaves takes the registration back: the answer has to arrive all the same (TS 33.203 7.4).
func (p *phone) leaves(set int, transport string) {
	p.t.Helper()
	var s handset.Status
	p.do("Challenge", handset.Asking{Set: set, Transport: transport, Expires: 0}, &s)
	if s.Code == 401 {
		p.do("Answer", handset.Asking{Transport: transport, Expires: 0}, &s)
	}
	if s.Code != 200 {
		p.t.Fatalf("%s: leaving was answered %d\n%s", p.user.Name, s.Code, tail(p.n.Log()))
	}
}

// gone holds that nobody reaches the telephone any more.
func (p *phone) gone(from *live.UE) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), live.Patience)
	defer cancel()
	var status *ue.StatusError
	if err := from.SendMessage(ctx, p.user.IMPU, "text/plain", []byte("still there?")); !errors.As(err, &status) {
		p.t.Errorf("%s has left: %v", p.user.Name, err)
	}
}

// silent holds that nothing answers over a set, or in clear.
func (p *phone) silent(set int, transport string) {
	p.t.Helper()
	err := p.Call(handset.Name+".Request", handset.Asking{Method: "MESSAGE", To: p.user.IMPU, Body: "hello?", Set: set, Transport: transport, Patience: 3 * time.Second}, &handset.Status{})
	if err == nil || !strings.Contains(err.Error(), "no answer") {
		p.t.Errorf("%s: over set %d: %v", p.user.Name, set, err)
	}
}

// witness is the other end: client/ue over TLS, which takes calls without keys for their media, for a telephone has none.
func (n *node) witness(t *testing.T, name string) *live.UE {
	t.Helper()
	user := live.NewUsers("friend-of-"+name, 1, live.AKAv2)[0]
	if err := n.Provision(context.Background(), user); err != nil {
		t.Fatal(err)
	}
	x, err := n.UE(user, ue.TLS, func(c *ue.Config) { c.Lab, c.PlainRTP = true, true })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), live.Patience)
	defer cancel()
	if _, err := x.Register(ctx); err != nil {
		t.Fatal(err)
	}
	return x
}
