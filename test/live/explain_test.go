package live_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/proto/siptxn"
	"imsafe/test/live"
)

// TestExplain holds that the story of a registration says what happened and what to do about it.
func TestExplain(t *testing.T) {
	n := live.Start(t, live.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	users := live.NewUsers("sim", 4, live.AKAv1)
	if err := n.Provision(ctx, users...); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user *live.User
		try  func(*testing.T, *live.User)
		want []string // in the last attempt, in this order
	}{
		"as it should be": {users[0], func(t *testing.T, u *live.User) {
			x, err := n.UE(u, ue.IPsecUDP, nil)
			if err == nil {
				_, err = x.Register(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, []string{"came in clear; it offers null/aes-gcm", "null/aes-gcm is chosen", "with the answer to the challenge", "registered"}},
		"OP given as OPc": {users[1], func(t *testing.T, u *live.User) {
			wrong := *u
			wrong.OPc = [16]byte(wrong.OP)
			quick := siptxn.Derive(20*time.Millisecond, 80*time.Millisecond, 100*time.Millisecond)
			x, err := n.UE(&wrong, ue.IPsecUDP, func(c *ue.Config) { c.Timers = &quick })
			if err != nil {
				t.Fatal(err)
			}
			if _, err = x.Register(ctx); !errors.Is(err, ue.ErrNetwork) {
				t.Fatalf("%v, want %v", err, ue.ErrNetwork)
			}
		}, []string{"challenged", "nothing came over the new security associations"}},
		"MD5 alone": {users[2], func(t *testing.T, u *live.User) {
			speak(t, n.Gm, u, "Security-Client: ipsec-3gpp;alg=hmac-md5-96;ealg=null;spi-c=1111111111;spi-s=1111111112;port-c=40001;port-s=40002\r\n", "SIP/2.0 494 ")
		}, []string{"hmac-md5-96/null", "refused with 494", "[[ci.ipsec.exception]]"}},
		"no IPsec": {users[3], func(t *testing.T, u *live.User) { speak(t, n.Gm, u, "", "SIP/2.0 421 ") },
			[]string{"came in clear", "refused with 421", "switch IPsec on"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.try(t, c.user)
			for _, identity := range []string{c.user.IMPI, c.user.IMPU} {
				var r node.Registration
				if err := management.NewClient(filepath.Join(n.Dir, "..", "management")).Call(ctx, "registration.explain", node.UserName{Name: identity}, &r); err != nil {
					t.Fatal(err)
				}
				var told strings.Builder
				for _, h := range r.Attempts[len(r.Attempts)-1].Events {
					fmt.Fprintf(&told, "%s > %s\n", h.What, h.Do)
				}
				rest := told.String()
				for _, want := range c.want {
					_, after, found := strings.Cut(rest, want)
					if !found {
						t.Errorf("%q is missing, or not where it belongs, in\n%s", want, told.String())
					}
					rest = after
				}
			}
		})
	}
}

// speak sends a first REGISTER of u in clear, with further header lines, and wants an answer that begins so.
func speak(t *testing.T, to netip.AddrPort, u *live.User, lines, want string) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKx\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=a\r\nTo: <%s>\r\nCall-ID: x\r\nCSeq: 1 REGISTER\r\n"+
		"Contact: <sip:%s>\r\nAuthorization: Digest username=\"%s\",realm=\"%s\",nonce=\"\",uri=\"sip:%s\",response=\"\"\r\n%sContent-Length: 0\r\n\r\n",
		live.Domain, conn.LocalAddr(), u.IMPU, u.IMPU, conn.LocalAddr(), u.IMPI, live.Domain, live.Domain, lines)
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(live.Patience))
	size, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:size]), want) {
		t.Fatalf("%q, %v; want %q", answer[:size], err, want)
	}
}
