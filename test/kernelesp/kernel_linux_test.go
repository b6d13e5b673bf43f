package kernelesp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/espnet"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/peer"
)

// The keys of the test, and what the other kernel is told: keys and salts of TS 33.203 Annex I as it writes them. The salts were
// computed with OpenSSL, so that they are not ours: HMAC-SHA-256 under CK || IK of 59 "AES_GCM_SALT" 000C and 58 "AES_GMAC_SALT" 000D,
// the last four octets.
const (
	ckHex    = "000102030405060708090a0b0c0d0e0f"
	ikHex    = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
	gcmSalt  = "6607c502"
	gmacSalt = "ca326c7e"
)

// pairs are the algorithms, and how iproute2 is told of them.
var pairs = []struct{ alg, ealg, words string }{
	{"null", "aes-gcm", "aead 'rfc4106(gcm(aes))' 0x" + ckHex + gcmSalt + " 128"},
	{"aes-gmac", "null", "aead 'rfc4543(gcm(aes))' 0x" + ikHex + gmacSalt + " 128"},
	{"hmac-sha-1-96", "aes-cbc", "auth-trunc 'hmac(sha1)' 0x" + ikHex + "00000000 96 enc 'cbc(aes)' 0x" + ckHex},
	{"hmac-sha-1-96", "null", "auth-trunc 'hmac(sha1)' 0x" + ikHex + "00000000 96 enc 'ecb(cipher_null)' ''"},
	{"hmac-md5-96", "null", "auth-trunc 'hmac(md5)' 0x" + ikHex + " 96 enc 'ecb(cipher_null)' ''"},
	{"hmac-md5-96", "des-ede3-cbc", "auth-trunc 'hmac(md5)' 0x" + ikHex + " 96 enc 'cbc(des3_ede)' 0x" + ckHex + ckHex[:16]},
}

// wire is one family of the network between us and the guest.
type wire struct {
	name, network string
	here, there   netip.Addr
	bits          int
	engine        *esp.Engine
	stack         *espnet.Stack
	raw, encap    *esp.Front

	mu      sync.Mutex
	came    map[esp.Ref]int     // requests by the agreement they came by
	dropped map[esp.Drop]uint64 // by the attacks, on purpose
	take    chan<- string       // gets what comes in instead of an answer going out; nil to answer
}

// answer sends a request back from our client port, on the agreement it came by.
func (w *wire) answer(f func() *esp.Front) func(*esp.Datagram) {
	return func(d *esp.Datagram) {
		w.mu.Lock()
		w.came[d.Agreement]++
		take := w.take
		w.mu.Unlock()
		if take != nil {
			take <- string(d.Payload)
			return
		}
		_ = f().Send(d.Agreement, esp.Client, d.Payload) // a lost answer is a failed case
	}
}

// TestKernel: requests of a kernel's UE are opened here, answers sealed here are opened there.
func TestKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	if !peer.InNamespace(t) {
		return
	}
	k := machine.Boot(t, machine.UserMode(t), machine.Program{Name: "ue", Package: "imsafe/test/kernelesp", Test: true})
	ctx, cancel := context.WithCancel(context.Background())
	var fronts sync.WaitGroup
	defer fronts.Wait()
	defer cancel()
	wires := []*wire{
		{name: "IPv4", network: esp.Network4, here: netip.MustParseAddr("10.77.0.1"), there: netip.MustParseAddr("10.77.0.2"), bits: 32},
		{name: "IPv6", network: esp.Network6, here: netip.MustParseAddr("fd77::1"), there: netip.MustParseAddr("fd77::2"), bits: 128},
	}
	for _, w := range wires {
		w.engine, w.came = esp.New(esp.Config{Random: rand.Reader}), map[esp.Ref]int{}
		w.open(t)
		for _, f := range []*esp.Front{w.raw, w.encap} {
			fronts.Go(func() {
				if err := f.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
	}
	uc := uint16(38001)
	for _, p := range pairs {
		for _, w := range wires {
			for _, tunnel := range []bool{false, true} {
				mode := map[bool]string{false: "transport", true: "UDP-enc-tun"}[tunnel]
				t.Run(fmt.Sprintf("%s/%s %s %s", p.alg, p.ealg, w.name, mode), func(t *testing.T) {
					uc++ // a client port is used for one agreement
					w.run(t, k, p.alg, p.ealg, p.words, uc, tunnel)
				})
			}
		}
	}
	for _, w := range wires {
		t.Run("three generations "+w.name, func(t *testing.T) { w.generations(t, k, uc+1) })
		uc += 3
		for _, a := range attacks {
			if w.bits == 32 {
				uc++
				t.Run("attack "+a.name, func(t *testing.T) { w.injection(t, k, a.name, a.drop, uc) })
			}
		}
		for _, p := range []int{0, 2} {
			for _, tunnel := range []bool{false, true} {
				t.Run(fmt.Sprintf("the kernel is the P-CSCF %s %s tunnel=%v", pairs[p].alg, w.name, tunnel), func(t *testing.T) {
					uc++
					w.reversed(t, k, p, uc, tunnel)
				})
			}
		}
	}
	for _, w := range wires {
		w.streams(t, k, &uc)
	}
}

// open opens our sockets of the family.
func (w *wire) open(t *testing.T) {
	t.Helper()
	lc := net.ListenConfig{Control: esp.SocketOptions}
	ip, err := lc.ListenPacket(context.Background(), w.network, w.here.String())
	if err != nil {
		t.Fatal(err)
	}
	udp, err := lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(w.here, 4500).String())
	if err != nil {
		t.Fatal(err)
	}
	if w.stack, err = espnet.New(w.engine, espnet.Config{Random: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.stack.Close() }) // it has no error
	w.raw = w.stack.NewFront(esp.Raw(ip.(*net.IPConn)), esp.FrontConfig{UDP: w.answer(func() *esp.Front { return w.raw })})
	w.encap = w.stack.NewFront(esp.Encapsulation(udp.(*net.UDPConn), w.here), esp.FrontConfig{UDP: w.answer(func() *esp.Front { return w.encap })})
}

// agree installs an agreement here. base is the first of the UE's SPIs.
func (w *wire) agree(t *testing.T, role esp.Role, alg, ealg string, uc uint16, base uint32, tunnel bool) (*esp.Agreement, esp.Ref) {
	t.Helper()
	tr, ok := esp.TransformOf(alg, ealg)
	if !ok {
		t.Fatal("no such pair")
	}
	spi, err := w.engine.Reserve(w.here, base, base+1)
	if err != nil {
		t.Fatal(err)
	}
	g := &esp.Agreement{Role: role, Local: w.here, Peer: w.there, Transform: tr, CK: aka.CK(octets(t, ckHex)), IK: aka.IK(octets(t, ikHex)), AllowWithdrawn: true,
		Tunnel: tunnel, Here: esp.Ends{Port: [2]uint16{uc - 32001, 5999}, SPI: spi},
		There: esp.Ends{Port: [2]uint16{uc, 39001}, SPI: [2]uint32{base, base + 1}}}
	if role == esp.UE {
		g.PeerPort = 4500
	}
	ref, err := w.engine.Install(g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.engine.Remove(ref) })
	return g, ref
}

// sizes are those of requests and answers; the last are in fragments. In UDP over IPv6 the other kernel fragments the inner packet, which
// proto/esp refuses (its README, Limits): there a UE goes to TCP for what is large.
func (w *wire) sizes(tunnel bool) []int {
	if tunnel && w.bits == 128 {
		return []int{1, 2, 3, 13, 400, 1200}
	}
	return []int{1, 2, 3, 13, 400, 1300, 1472, 3000, 20000}
}

// ue is the command that makes the guest speak over g, or answer.
func (w *wire) ue(t *testing.T, g *esp.Agreement, answer bool) string {
	t.Helper()
	return w.guestDoes(t, g, order{Sizes: w.sizes(g.Tunnel), Encap: g.Tunnel, Answer: answer}) +
		"[ $? = 0 ] || { /sbin/ip -s xfrm state; cat /proc/net/xfrm_stat; }\n"
}

// guestDoes is the command that gives the guest's program an order, with the ports of g.
func (w *wire) guestDoes(t *testing.T, g *esp.Agreement, o order) string {
	t.Helper()
	o.UC, o.US = netip.AddrPortFrom(w.there, g.There.Port[esp.Client]), netip.AddrPortFrom(w.there, g.There.Port[esp.Server])
	o.PS = netip.AddrPortFrom(w.here, g.Here.Port[esp.Server])
	words, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return guestEnv + "='" + string(words) + "' /opt/ue\n"
}

const flush = "/sbin/ip xfrm state flush; /sbin/ip xfrm policy flush\n"

// run is one agreement from beginning to end.
func (w *wire) run(t *testing.T, k *machine.Kernel, alg, ealg, words string, uc uint16, tunnel bool) {
	g, ref := w.agree(t, esp.PCSCF, alg, ealg, uc, 0x1001, tunnel)
	w.judge(t, k.Sh(w.associations(g, words)+w.ue(t, g, false)+flush), len(w.sizes(tunnel)), ref)
}

// judge looks at what the guest said and at what came here, by each of the agreements.
func (w *wire) judge(t *testing.T, out string, requests int, refs ...esp.Ref) {
	t.Helper()
	if strings.Count(out, fmt.Sprintln("GUEST-OK", requests)) < len(refs) || strings.Contains(out, "GUEST-FAILED") {
		t.Errorf("the guest says:\n%s", out)
	}
	n := w.engine.Counters()
	for _, d := range esp.Drops() {
		if n.Dropped(d) != w.dropped[d] {
			t.Errorf("%d packets dropped: %v", n.Dropped(d)-w.dropped[d], d)
		}
	}
	if n.Nonce.Load() != 0 {
		t.Error("nonce notices")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range refs {
		if w.came[r] < requests {
			t.Errorf("%d of %d requests came by the agreement", w.came[r], requests)
		}
		delete(w.came, r)
	}
	if len(w.came) != 0 {
		t.Errorf("requests came by another agreement")
	}
	clear(w.came)
}

// generations is a UE that registers again and again and may use the older associations while they stand (TS 33.203 7.4): three
// sets, one us and one ps, another uc and pc each.
func (w *wire) generations(t *testing.T, k *machine.Kernel, first uint16) {
	var script strings.Builder
	var refs []esp.Ref
	var sets []*esp.Agreement
	for i := range 3 {
		g, ref := w.agree(t, esp.PCSCF, pairs[i].alg, pairs[i].ealg, first+uint16(i), 0x2001+uint32(2*i), false)
		sets, refs = append(sets, g), append(refs, ref)
		script.WriteString(w.associations(g, pairs[i].words) + w.ue(t, g, false))
	}
	script.WriteString(w.ue(t, sets[0], false)) // on the oldest again
	w.judge(t, k.Sh(script.String()+flush), len(w.sizes(false)), refs...)
}

// reversed has the UE here and the P-CSCF in the guest: the same associations, but the requests start here.
func (w *wire) reversed(t *testing.T, k *machine.Kernel, pair int, uc uint16, tunnel bool) {
	g, ref := w.agree(t, esp.UE, pairs[pair].alg, pairs[pair].ealg, uc, 0x1001, tunnel)
	answers := make(chan string, 16)
	w.mu.Lock()
	w.take = answers
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.take = nil
		w.mu.Unlock()
	}()
	said := make(chan string, 1)
	script := w.associations(g, pairs[pair].words) + w.ue(t, g, true) + flush
	go func() {
		out, err := k.Shell(script)
		said <- fmt.Sprintln(out, err)
	}()
	f := w.raw
	if tunnel {
		f = w.encap
	}
	for i, size := range w.sizes(tunnel) {
		request := strings.Repeat(string(rune(i+1)), size)
		for try := 0; ; try++ {
			if err := f.Send(ref, esp.Client, []byte(request)); err != nil {
				t.Fatal(err)
			}
			if wait(answers, request) {
				break
			}
			if try == 20 {
				t.Fatalf("no answer to %d octets; the guest says %s", size, <-said)
			}
		}
	}
	w.judge(t, <-said, len(w.sizes(tunnel)), ref)
}

// wait waits a little for the answer that equals want, and passes over those of requests that were sent twice.
func wait(answers <-chan string, want string) bool {
	patience := time.After(time.Second)
	for {
		select {
		case a := <-answers:
			if a == want {
				return true
			}
		case <-patience:
			return false
		}
	}
}

// associations makes the guest the UE of g: two associations and two policies are enough for UDP (TS 33.203 7.1), uc -> ps and pc -> us.
func (w *wire) associations(g *esp.Agreement, words string) string {
	return w.association(g, words, "udp", esp.Client, "out") + w.association(g, words, "udp", esp.Server, "in")
}

// association is one of the guest's, at its port side, with its policy.
func (w *wire) association(g *esp.Agreement, words, protocol string, side esp.Side, dir string) string {
	mode, encap := "transport", ""
	if g.Tunnel {
		mode, encap = "tunnel", " encap espinudp 4500 4500 "+map[int]string{32: "0.0.0.0", 128: "::"}[w.bits]
	}
	theirs, ours := g.There.Port[side], g.Here.Port[1-side]
	src, dst, sport, dport, spi := w.there, w.here, theirs, ours, g.Here.SPI[1-side]
	id := 4*int(g.There.Port[esp.Client]) + 2*int(side) // uc tells the sets apart
	if dir == "in" {
		src, dst, sport, dport, spi = dst, src, dport, sport, g.There.SPI[side]
		id++
	}
	return fmt.Sprintf("/sbin/ip xfrm state add src %s dst %s proto esp spi %#x reqid %d mode %s replay-window 32 %s%s\n", src, dst, spi, id, mode, words, encap) +
		fmt.Sprintf("/sbin/ip xfrm policy add src %s/%d dst %s/%d proto %s sport %d dport %d dir %s tmpl src %s dst %s proto esp reqid %d mode %s\n",
			src, w.bits, dst, w.bits, protocol, sport, dport, dir, src, dst, id, mode)
}

func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
