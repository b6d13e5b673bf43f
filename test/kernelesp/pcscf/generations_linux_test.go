package pcscf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/secagree"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// usersEnv names the file with the subscribers of the node in the guest. Where it is set this binary runs there.
const usersEnv = "IMSAFE_TEST_USERS"

// speakEnv has this binary say something in clear from a protected port in the guest.
const speakEnv = "IMSAFE_TEST_SPEAK"

// speak does that. Nobody is in its way: the node is dead, and this socket has no policy of its own.
func speak(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: guests[0].AsSlice(), Port: 6061})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = c.WriteToUDPAddrPort([]byte("in clear"), netip.AddrPortFrom(hosts[0], 7000))
	fmt.Println(err)
}

// soon is after how long a client authenticates again: no configuration file may say that.
const soon = time.Second

// TestInGuest is the node in the guest, for those that need one that a file cannot configure. It ends with the guest.
func TestInGuest(t *testing.T) {
	if os.Getenv(speakEnv) != "" {
		speak(t)
		return
	}
	file := os.Getenv(usersEnv)
	if file == "" {
		t.Skip("not in the guest")
	}
	n := live.Start(t, live.Options{Configure: func(c *config.Config) {
		for _, a := range guests {
			c.CI.IPsec.Listen = append(c.CI.IPsec.Listen, config.Address{AddrPort: netip.AddrPortFrom(a, 5060)})
		}
		c.CI.IPsec.Profile, c.CI.IPsec.Backend, c.CI.IPsec.NATPort = "handset", "auto", 0
		c.Registration.Reauthenticate = config.Of(soon)
		c.Timers.Gm = config.SIPTimers{T1: config.Of(200 * time.Millisecond), T2: config.Of(800 * time.Millisecond), T4: config.Of(time.Second)} // former associations stand for 64*T1
	}})
	users, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.HSS.Import(context.Background(), users, false, nil); err != nil {
		t.Fatal(err)
	}
	fmt.Println("node runs")
	select {}
}

// TestGenerations lets phones authenticate again and again (TS 33.203 7.4): two sets stand side by side in the kernel, a third while the
// answer is under way, and of what has ended nothing is left there.
func TestGenerations(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	t.Parallel() // each in a namespace and a process of its own
	if !peer.InNamespace(t) {
		return
	}
	p := &pcscf{t: t, patience: live.Patience, k: machine.Boot(t, machine.UserMode(t), machine.Program{Name: "node", Package: "imsafe/test/kernelesp/pcscf", Test: true})}
	suites := secagree.Handset().Suites[:2]
	users := live.NewUsers("kernel", 8, live.AKAv1)
	p.sh("cat > /tmp/users <<'EOF'\n" + subscribers(t, users...) + "EOF\n" + usersEnv + "=/tmp/users /opt/node -test.run InGuest -test.timeout 0 >/tmp/log 2>&1 </dev/null &")
	p.runs()
	var names []string
	for family, name := range []string{"IPv4", "IPv6"} {
		for _, transport := range []ue.Transport{ue.IPsecUDP, ue.IPsecTCP} {
			for _, suite := range suites {
				user := users[len(names)]
				names = append(names, name+"/"+transport.String()+"/"+suite.Alg+"+"+suite.EAlg)
				t.Run(names[len(names)-1], func(t *testing.T) { p.renew(t, p.phone(t, user, family, transport, suite)) })
			}
		}
	}
	for end := time.Now().Add(2 * live.Patience); ; <-time.After(time.Second) {
		associations, _ := p.standing()
		if associations == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d associations are left when %d clients have gone", associations, len(users))
		}
	}
}

// renew authenticates a phone four times over what stands.
func (p *pcscf) renew(t *testing.T, x *phone) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	before, _ := p.standing()
	for i := range 4 {
		if i > 0 {
			<-time.After(soon + 100*time.Millisecond)
		}
		r, err := x.registers(ctx)
		if err != nil || !strings.HasPrefix(r.Protection, "IPsec ESP on IP") {
			t.Fatalf("%q, %v\n%s", r.Protection, err, p.log())
		}
		x.writes(ctx, t, 100)
		if i > 0 {
			if now, _ := p.standing(); now < 8 {
				t.Errorf("%d associations stand after authentication %d, %d before the first", now, i+1, before)
			}
		}
	}
	if err := comesAgain(ctx, func() error { return x.Deregister(ctx) }); err != nil {
		t.Error(err)
	}
}
