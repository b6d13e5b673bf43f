package pcscf

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/esp"
	"imsafe/test/live"
)

// exhausts begins registrations in the names of two clients, from elsewhere and in clear (CI-17): alice has associations, and another has answered a
// challenge, of which somebody in his path keeps the answer meanwhile. Each REGISTER offers other ports and SPIs, and most come before the kernel has
// answered to the one before. None of it goes by the guest's clock, which stands still now and then: what is waited for are answers, and what stands is
// read out of its kernel (TS 33.203 6.1.2.3, 7.1, 7.4).
func (x *intruder) exhausts(ctx context.Context, t *testing.T, user *live.User) {
	const times, most = 100, 6
	w := &tap{}
	x.p.tap, x.p.patience = func(inner esp.Wire) esp.Wire { w.Wire = inner; return w }, live.Patience
	before := x.p.spis()
	w.hold(true)
	waits := x.p.phone(t, user, 0, ue.IPsecUDP, x.suite)
	registered := make(chan error, 1)
	go func() {
		_, err := waits.Register(ctx)
		registered <- err
	}()
	for w.kept() == 0 { // his answer to the challenge is under way
		select {
		case err := <-registered:
			t.Fatalf("he has registered already, or cannot: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	pending := x.p.spis()
	if n := len(added(before, pending)); n != 4 {
		t.Fatalf("%d associations wait for an answer", n)
	}
	of := pending
	from := elsewhere // another for each: what one has spent in a name, he has spent
	for _, victim := range []*live.User{x.alice.user, user} {
		challenged := x.begins(ctx, t, victim, from, times)
		from = from.Next()
		now := x.p.spis()
		in, out := 0, 0
		for _, to := range added(of, now) {
			if to == guests[0].String() {
				in++
			} else {
				out++
			}
		}
		t.Logf("%d of %d REGISTERs in the name of %s were challenged; %d and %d associations for them", challenged, times, victim.Name, in, out)
		if in+2 > most || out+2 > most { // two in each direction are his own
			t.Errorf("%d associations towards the P-CSCF and %d from it, beside his own two", in, out)
		}
		if gone := added(now, pending); len(gone) > 0 {
			t.Errorf("of what stood before %v is gone", gone)
		}
		of = now
	}
	x.says(ctx, t) // on the associations that she had
	w.hold(false)
	err := <-registered
	if gone := added(x.p.spis(), pending); len(gone) > 0 && !turnedAway(err) {
		t.Errorf("he had to be challenged again: %v is gone", gone)
	}
	if turnedAway(err) {
		_, err = waits.registers(ctx)
	}
	if err != nil {
		t.Fatalf("who has answered is not registered: %v", err)
	}
	if err := comesAgain(ctx, func() error { return waits.SendMessage(ctx, user.IMPU, "text/plain", []byte("here")) }); err != nil {
		t.Errorf("and cannot say anything: %v", err)
	}
}

// kept counts the packets that the tap has seen of its phone.
func (w *tap) kept() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}

// begins sends first REGISTERs in a client's name, each with ports and SPIs of its own, and counts the challenges that come back. It ends when nothing
// comes any more; but one has to come: a guest that gets little of a processor may hear nobody for a while.
func (x *intruder) begins(ctx context.Context, t *testing.T, victim *live.User, from netip.Addr, times int) (challenged int) {
	t.Helper()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: from.AsSlice()}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(guests[0], 5060)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	answer := make([]byte, 4096)
	for i := 0; i < times || challenged == 0; i++ {
		if ctx.Err() != nil {
			t.Fatal("no REGISTER was heard at all")
		}
		if _, err := c.Write(register(c, victim, i, x.suite.Alg, x.suite.EAlg)); err != nil {
			t.Fatal(err)
		}
		const together = 10 // so many come before the kernel has answered to one
		if i%together != together-1 {
			continue
		}
		wait := 50 * time.Millisecond
		if i >= times-1 {
			wait = 500 * time.Millisecond
		}
		for x.hearsChallenge(t, c, answer, wait) {
			challenged++
		}
	}
	return challenged
}

// hearsChallenge reports whether a challenge comes within a time.
func (x *intruder) hearsChallenge(t *testing.T, c *net.UDPConn, answer []byte, wait time.Duration) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := c.Read(answer)
		if err != nil || bytes.HasPrefix(answer[:n], []byte("SIP/2.0 401 ")) {
			return err == nil
		}
	}
}

// register writes a first REGISTER with an offer of associations.
func register(c *net.UDPConn, u *live.User, i int, alg, ealg string) []byte {
	return fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;rport;branch=z9hG4bKr%[3]d\r\nMax-Forwards: 70\r\nFrom: <%[4]s>;tag=x%[3]d\r\nTo: <%[4]s>\r\n"+
		"Call-ID: r%[3]d-%[2]s\r\nCSeq: 1 REGISTER\r\nContact: <sip:%[2]s>;expires=600\r\nSupported: path, sec-agree\r\nRequire: sec-agree\r\nProxy-Require: sec-agree\r\n"+
		"Authorization: Digest username=\"%[5]s\",realm=\"%[1]s\",nonce=\"\",uri=\"sip:%[1]s\",response=\"\"\r\n"+
		"Security-Client: ipsec-3gpp;alg=%[6]s;ealg=%[7]s;spi-c=%[8]d;spi-s=%[9]d;port-c=%[10]d;port-s=%[11]d\r\nContent-Length: 0\r\n\r\n",
		live.Domain, c.LocalAddr(), i, u.IMPU, u.IMPI, alg, ealg, 2_000_000_000+2*i, 2_000_000_001+2*i, 20000+2*i, 20001+2*i)
}

// spis are the associations that stand in the guest's kernel, and where each leads.
func (p *pcscf) spis() map[string]string {
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`src \S+ dst (\S+)\n\s+proto esp spi (0x[0-9a-f]+)`).FindAllStringSubmatch(p.sh("/sbin/ip xfrm state"), -1) {
		all[m[2]+" to "+m[1]] = m[1]
	}
	return all
}

// added are the entries of now that were not there before.
func added(before, now map[string]string) map[string]string {
	more := map[string]string{}
	for k, v := range now {
		if _, there := before[k]; !there {
			more[k] = v
		}
	}
	return more
}
