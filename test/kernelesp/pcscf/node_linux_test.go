package pcscf

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/siptxn"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/live"
)

// The two ends of the wire, by family.
var (
	guests = []netip.Addr{netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fd77::2")}
	hosts  = []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")}
)

// configuration is that of the node in the guest.
const configuration = `[node]
data_dir = "/tmp/store"
shards = 2
[ims]
domain = "` + live.Domain + `"
[ci.ipsec]
listen = ["10.77.0.2:5060", "[fd77::2]:5060"]
profile = "legacy"
backend = "kernel"
nat_port = 0
[hss]
sealing_key_file = "/tmp/sealing.key"
[management]
socket = "/tmp/management"
[registration]
min_expires = "5s"
`

// pcscf is our binary in the guest.
type pcscf struct {
	t *testing.T
	k *machine.Kernel
}

// prepare writes what the node needs.
func prepare(t *testing.T, k *machine.Kernel) *pcscf {
	t.Helper()
	p := &pcscf{t, k}
	p.sh("cat > /tmp/imsafe.toml <<'EOF'\n" + configuration + "EOF\n/opt/imsafe key new /tmp/sealing.key")
	return p
}

func (p *pcscf) sh(script string) string {
	p.t.Helper()
	return p.k.Sh(script)
}

// start starts the node and waits until its operator's door is open.
func (p *pcscf) start() {
	p.t.Helper()
	out := p.sh(`/opt/imsafe run --config /tmp/imsafe.toml >/tmp/log 2>&1 </dev/null &
echo $! >/tmp/pid
i=0; until /opt/imsafe status --config /tmp/imsafe.toml >/dev/null 2>&1; do i=$((i+1)); [ $i -gt 50 ] && { cat /tmp/log; break; }; sleep 0.2; done`)
	if out != "" {
		p.t.Fatalf("the node does not start:\n%s", out)
	}
}

// log is what the node has said.
func (p *pcscf) log() string { return p.sh("cat /tmp/log") }

// end ends the node by a signal and waits until it is gone.
func (p *pcscf) end(signal string) {
	p.t.Helper()
	p.sh("kill -" + signal + " $(cat /tmp/pid); i=0; while kill -0 $(cat /tmp/pid) 2>/dev/null && [ $i -lt 100 ]; do i=$((i+1)); sleep 0.1; done")
}

// provision adds subscribers.
func (p *pcscf) provision(users ...*live.User) {
	p.t.Helper()
	var lines strings.Builder
	for _, u := range users {
		s := map[string]any{"impi": u.IMPI, "scheme": u.Scheme, "public": []map[string]string{{"impu": u.IMPU}},
			"k": fmt.Sprintf("%x", u.K[:]), "op": fmt.Sprintf("%x", u.OP[:]), "amf": fmt.Sprintf("%x", u.AMF[:])}
		if err := json.NewEncoder(&lines).Encode(s); err != nil {
			p.t.Fatal(err)
		}
	}
	out := p.sh("cat > /tmp/users <<'EOF'\n" + lines.String() + "EOF\n/bin/busybox chmod 600 /tmp/users\n/opt/imsafe user import --config /tmp/imsafe.toml /tmp/users || echo FAILED")
	if strings.Contains(out, "FAILED") {
		p.t.Fatal(out)
	}
}

// phone is a telephone of ours, outside.
type phone struct {
	*ue.UE
	user     *live.User
	messages chan ue.Message
}

// phone starts one that can do one pair of algorithms.
func (p *pcscf) phone(t *testing.T, u *live.User, family int, transport ue.Transport, suite secagree.Suite) *phone {
	t.Helper()
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: live.Domain, IMPUs: []string{u.IMPU}}, K: u.K, OPc: u.OPc,
		State: isim.Volatile{}})
	if err != nil {
		t.Fatal(err)
	}
	x := &phone{user: u, messages: make(chan ue.Message, 8)}
	timers := siptxn.Derive(500*time.Millisecond, 2*time.Second, 2*time.Second)
	x.UE, err = ue.New(ue.Config{Card: card, Transport: transport, Clock: shard.RealClock(), Rand: rand.Reader, Local: hosts[family], Timers: &timers,
		Proxy:        netip.AddrPortFrom(guests[family], 5060),
		ListenPacket: func(a netip.Addr) (net.PacketConn, error) { return net.ListenUDP("udp", &net.UDPAddr{IP: a.AsSlice()}) },
		OnMessage:    func(m ue.Message) { x.messages <- m },
		IPsec: ue.IPsec{Profile: secagree.Profile{Suites: []secagree.Suite{suite}}, RawOnly: true, Raw: func(local netip.Addr) (esp.Wire, error) {
			network := esp.Network4
			if local.Is6() {
				network = esp.Network6
			}
			lc := net.ListenConfig{Control: esp.SocketOptions}
			conn, err := lc.ListenPacket(context.Background(), network, local.String())
			if err != nil {
				return nil, err
			}
			return esp.Raw(conn.(*net.IPConn)), nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return x
}

// writes lets a phone write to itself, which goes both ways.
func (x *phone) writes(ctx context.Context, t *testing.T, size int) {
	t.Helper()
	if err := x.SendMessage(ctx, x.user.IMPU, "text/plain", []byte(strings.Repeat("x", size))); err != nil {
		t.Fatalf("a message of %d octets: %v", size, err)
	}
	select {
	case m := <-x.messages:
		if len(m.Body) != size {
			t.Errorf("%d of %d octets came", len(m.Body), size)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("a message of %d octets did not come", size)
	}
}
