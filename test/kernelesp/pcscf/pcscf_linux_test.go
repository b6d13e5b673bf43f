package pcscf

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/secagree"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// TestKernelBackEnd registers phones at our P-CSCF in the other kernel, with every pair of algorithms that a profile has, over both families and
// both transports: they write, refresh, and leave.
func TestKernelBackEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	t.Parallel() // each in a namespace and a process of its own
	if !peer.InNamespace(t) {
		return
	}
	p := prepare(t, machine.Boot(t, machine.UserMode(t), machine.Program{Name: "imsafe", Package: "imsafe/cmd/imsafe"},
		machine.Program{Name: "guest-of-test", Package: "imsafe/test/kernelesp/pcscf", Test: true}))
	p.start()
	suites := secagree.Legacy().Suites
	transports := []ue.Transport{ue.IPsecUDP, ue.IPsecTCP}
	users := live.NewUsers("kernel", 2*len(suites)*len(transports)+2, live.AKAv1)
	p.provision(users...)
	if log := p.log(); !strings.Contains(log, "state=kernel") {
		t.Fatal(log)
	}
	if associations, policies := p.standing(); associations != 0 || policies != ports*2*2 {
		t.Errorf("%d associations and %d policies stand at the start", associations, policies)
	}
	p.patience = live.Patience
	for family, name := range []string{"IPv4", "IPv6"} {
		for _, transport := range transports {
			for _, suite := range suites {
				user := users[0]
				users = users[1:]
				t.Run(name+"/"+transport.String()+"/"+suite.Alg+"+"+suite.EAlg, func(t *testing.T) {
					p.life(t, p.phone(t, user, family, transport, suite), suite)
				})
			}
		}
	}
	t.Run("in clear", func(t *testing.T) { p.clear(t, p.phone(t, users[0], 0, ue.IPsecUDP, suites[0])) })
	p.patience = 0 // it begins anew when nobody answers over what was lost with the node
	t.Run("crash", func(t *testing.T) { p.crash(t, users[1], suites[0]) })
	t.Run("doctor", func(t *testing.T) { p.isExamined(t) })
	t.Run("end", func(t *testing.T) {
		p.end("TERM")
		if associations, policies := p.standing(); associations != 0 || policies != 0 {
			t.Errorf("%d associations and %d policies are left\n%s", associations, policies, p.log())
		}
	})
}

// ports are the protected ports of the default configuration, at each address.
const ports = 5

// clear speaks to the protected ports in clear, as a stranger and from the ports of a client that is registered: nothing is answered, and the
// kernel says why. What the client has is not touched.
func (p *pcscf) clear(t *testing.T, x *phone) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	if _, err := x.registers(ctx); err != nil {
		t.Fatal(err, p.log())
	}
	clients := regexp.MustCompile(`src 10\.77\.0\.1/32 dst 10\.77\.0\.2/32 sport (\d+) dport 6060`).FindStringSubmatch(p.sh("/sbin/ip xfrm state"))
	if clients == nil {
		t.Fatal(p.sh("/sbin/ip xfrm state"))
	}
	uc, _ := strconv.Atoi(clients[1])
	before := p.counts()
	sent := 0
	for _, from := range []int{0, uc} {
		for _, port := range []uint16{6060, 6061, 6062, 6063, 6064} {
			for family := range guests {
				c, err := net.ListenUDP("udp", &net.UDPAddr{IP: hosts[family].AsSlice(), Port: from})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.WriteToUDPAddrPort([]byte("OPTIONS sip:p SIP/2.0\r\n\r\n"), netip.AddrPortFrom(guests[family], port)); err != nil {
					t.Fatal(err)
				}
				sent++
				if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				if n, _, err := c.ReadFrom(make([]byte, 1000)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("port %d answers in clear: %d octets, %v", port, n, err)
				}
				_ = c.Close()
			}
		}
	}
	for family := range guests {
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		if c, err := d.Dial("tcp", netip.AddrPortFrom(guests[family], 6060).String()); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the protected server port answers in clear: %v, %v", c, err)
		}
	}
	after := p.counts()
	const reason = "XfrmInTmplMismatch"
	if moved := after[reason] - before[reason]; moved < uint64(sent) {
		t.Errorf("%s moved by %d, want %d at least", reason, moved, sent)
	}
	x.writes(ctx, t, 100)
	if err := comesAgain(ctx, func() error { return x.Deregister(ctx) }); err != nil {
		t.Error(err)
	}
}

// crash kills the node while a client is registered. What it leaves lets nothing through and has an end; the next start takes it away, and the
// client registers anew.
func (p *pcscf) crash(t *testing.T, user *live.User, suite secagree.Suite) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	x := p.phone(t, user, 0, ue.IPsecUDP, suite)
	if _, err := x.registers(ctx); err != nil {
		t.Fatal(err, p.log())
	}
	p.end("9")
	associations, policies := p.standing()
	if associations < 4 || policies != ports*2*2 {
		t.Errorf("after the crash there are %d associations and %d policies", associations, policies)
	}
	states := p.sh("/sbin/ip -s xfrm state")
	if ends := regexp.MustCompile(`expire add: soft 0\(sec\), hard [1-9]\d*\(sec\)`).FindAllString(states, -1); len(ends) != associations {
		t.Errorf("%d of %d associations have an end:\n%s", len(ends), associations, states)
	}
	hears, err := net.ListenUDP("udp", &net.UDPAddr{IP: hosts[0].AsSlice(), Port: 7000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hears.Close() }()
	before := p.counts()
	said := p.sh(speakEnv + "=1 /opt/guest-of-test -test.run InGuest")
	if err := hears.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := hears.ReadFrom(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d octets left the protected port in clear, %v", n, err)
	}
	if after := p.counts(); maps.Equal(before, after) {
		t.Errorf("the kernel counted nothing: was it sent? %s", said)
	}
	p.start()
	if log := p.log(); !strings.Contains(log, "had left security associations") {
		t.Error(log)
	}
	if associations, policies := p.standing(); associations != 0 || policies != ports*2*2 {
		t.Errorf("after the start there are %d associations and %d policies", associations, policies)
	}
	if _, err := x.registers(ctx); err != nil {
		t.Fatal(err, p.log())
	}
	x.writes(ctx, t, 100)
	if associations, _ := p.standing(); associations != 4 {
		t.Errorf("%d associations for one client", associations)
	}
}

// life is a phone's, from its first REGISTER to its last.
func (p *pcscf) life(t *testing.T, x *phone, suite secagree.Suite) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	defer func() {
		if t.Failed() {
			t.Log(p.log(), p.sh("/sbin/ip -s xfrm state; /sbin/ip xfrm policy; cat /proc/net/xfrm_stat"))
		}
	}()
	for range 2 { // the second is not challenged: it lengthens the life of what stands
		r, err := x.registers(ctx)
		if err != nil || !strings.HasPrefix(r.Protection, "IPsec ESP on IP, "+suite.Alg+"/"+suite.EAlg) {
			t.Fatalf("%q, %v", r.Protection, err)
		}
		for _, size := range []int{10, 3000} {
			x.writes(ctx, t, size)
		}
	}
	if now, _ := p.standing(); now < 4 { // those of phones that have left may still be there
		t.Errorf("%d associations stand", now)
	}
	if err := comesAgain(ctx, func() error { return x.Deregister(ctx) }); err != nil {
		t.Error(err)
	}
}
