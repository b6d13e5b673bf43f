package pcscf

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	"imsafe/proto/xfrm"
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
[timers.gm]
t1 = "100ms"
t2 = "400ms"
t4 = "500ms"
`

// pcscf is our binary in the guest.
type pcscf struct {
	t *testing.T
	k *machine.Kernel
	// tap, if not nil, puts somebody into the path of the next phone.
	tap func(esp.Wire) esp.Wire
	// patience is for how long the next phone says a request again, if it is longer than what its timers say.
	patience time.Duration
}

// prepare writes what the node needs.
func prepare(t *testing.T, k *machine.Kernel) *pcscf {
	t.Helper()
	p := &pcscf{t: t, k: k}
	p.sh("cat > /tmp/imsafe.toml <<'EOF'\n" + configuration + "EOF\n/opt/imsafe key new /tmp/sealing.key")
	return p
}

func (p *pcscf) sh(script string) string {
	p.t.Helper()
	return p.k.Sh(script)
}

// start starts the node and waits until it runs. Until then no other verb may: it would work on the store itself.
func (p *pcscf) start() {
	p.t.Helper()
	p.sh(`/opt/imsafe run --config /tmp/imsafe.toml >/tmp/log 2>&1 </dev/null &
echo $! >/tmp/pid`)
	p.runs()
}

// runs waits until the node says that it runs.
func (p *pcscf) runs() {
	p.t.Helper()
	out := p.sh(`i=0; until /bin/busybox grep -q "node runs" /tmp/log; do i=$((i+1)); [ $i -gt 300 ] && { cat /tmp/log; break; }; sleep 0.2; done`)
	if out != "" {
		p.t.Fatalf("the node does not start:\n%s", out)
	}
}

// standing counts the associations and the policies in the guest's kernel.
func (p *pcscf) standing() (associations, policies int) {
	out := p.sh("/sbin/ip xfrm state; echo ====; /sbin/ip xfrm policy")
	states, doors, _ := strings.Cut(out, "====")
	return strings.Count(states, "proto esp"), strings.Count(doors, "dir in") + strings.Count(doors, "dir out")
}

// counts are the drops of the guest's kernel.
func (p *pcscf) counts() map[string]uint64 {
	return maps.Collect(xfrm.Stat([]byte(p.sh("cat " + xfrm.StatFile))))
}

// log is what the node has said.
func (p *pcscf) log() string { return p.sh("cat /tmp/log") }

// end ends the node by a signal and waits until it is gone.
func (p *pcscf) end(signal string) {
	p.t.Helper()
	out := p.sh("kill -" + signal + " $(cat /tmp/pid); i=0; while kill -0 $(cat /tmp/pid) 2>/dev/null; do [ $i -gt 600 ] && { echo it does not end; break; }; i=$((i+1)); sleep 0.1; done")
	if out != "" {
		p.t.Fatal(out)
	}
}

// subscribers are users as the HSS imports them.
func subscribers(t *testing.T, users ...*live.User) string {
	t.Helper()
	var lines strings.Builder
	for _, u := range users {
		s := map[string]any{"impi": u.IMPI, "scheme": u.Scheme, "public": []map[string]string{{"impu": u.IMPU}},
			"k": fmt.Sprintf("%x", u.K[:]), "op": fmt.Sprintf("%x", u.OP[:]), "amf": fmt.Sprintf("%x", u.AMF[:])}
		if err := json.NewEncoder(&lines).Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	return lines.String()
}

// provision adds subscribers.
func (p *pcscf) provision(users ...*live.User) {
	p.t.Helper()
	out := p.sh("cat > /tmp/users <<'EOF'\n" + subscribers(p.t, users...) + "EOF\n/bin/busybox chmod 600 /tmp/users\n/opt/imsafe user import --config /tmp/imsafe.toml /tmp/users || echo FAILED")
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
	timers := siptxn.Derive(100*time.Millisecond, 400*time.Millisecond, 500*time.Millisecond)
	timers.F = max(timers.F, p.patience)
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
			wire := esp.Raw(conn.(*net.IPConn))
			if tap := p.tap; tap != nil {
				wire = tap(wire)
			}
			return wire, nil
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

// turnedAway reports whether err says that the guest has too much to do: it was heard, and answered.
func turnedAway(err error) bool {
	var status *ue.StatusError
	return errors.As(err, &status) && status.Code == 503
}

// comesAgain does what a guest may turn away that gets little of a processor, until it does not, or ctx ends.
func comesAgain(ctx context.Context, do func() error) (err error) {
	for err = do(); turnedAway(err) && ctx.Err() == nil; err = do() {
		<-time.After(500 * time.Millisecond)
	}
	return err
}

// registers registers, as often as it is turned away, or has drawn a port of another's associations that still stand: all phones have one address here
// (TS 33.203 7.1 rule 3).
func (x *phone) registers(ctx context.Context) (r ue.Registration, err error) {
	for taken := true; taken && ctx.Err() == nil; {
		err = comesAgain(ctx, func() (err error) { r, err = x.Register(ctx); return err })
		var status *ue.StatusError
		taken = errors.As(err, &status) && status.Code == 400
	}
	return r, err
}

// writes lets a phone write to itself, which goes both ways.
func (x *phone) writes(ctx context.Context, t *testing.T, size int) {
	t.Helper()
	err := comesAgain(ctx, func() error { return x.SendMessage(ctx, x.user.IMPU, "text/plain", []byte(strings.Repeat("x", size))) })
	if err != nil {
		t.Fatalf("a message of %d octets: %v", size, err)
	}
	select {
	case m := <-x.messages:
		if len(m.Body) != size {
			t.Errorf("%d of %d octets came", len(m.Body), size)
		}
	case <-time.After(live.Patience):
		t.Fatalf("a message of %d octets did not come", size)
	}
}
