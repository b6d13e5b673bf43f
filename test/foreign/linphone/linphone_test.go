package linphone

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/test/live"
	"imsafe/test/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configuration is linphonec's. Its TLS (mbed TLS 2.28) knows neither TLS 1.3 nor the critical name constraints of our lab
// authority: the node must allow TLS 1.2, and what linphonec verifies is not tried here. baresip does verify.
const configuration = `[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
use_ipv6=0
verify_server_certs=0
verify_server_cn=0
default_proxy=0
[net]
mtu=1300
[sound]
playback_dev_id=
[misc]
config_version=0
[auth_info_0]
username=%[1]s
userid=%[2]s
passwd=%[3]s
realm=%[5]s
domain=%[5]s
algorithm=%[6]s
[proxy_0]
reg_proxy=<sip:%[4]v;transport=tls>
reg_route=<sip:%[4]v;transport=tls;lr>
reg_identity=<sip:%[1]s@%[5]s>
reg_expires=600
reg_sendregister=1
publish=0
`

// phone is a running linphonec.
type phone struct {
	t   *testing.T
	in  io.WriteCloser
	mu  sync.Mutex
	out bytes.Buffer
}

// Write implements io.Writer for what linphonec says.
func (p *phone) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *phone) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func start(t *testing.T, n *live.Node, u *live.User) *phone {
	t.Helper()
	program := peer.Need(t, "linphonec")
	p, dir := &phone{t: t}, t.TempDir()
	rc := fmt.Sprintf(configuration, u.Name, u.IMPI, u.Password, n.TLS, live.Domain, u.Scheme)
	if err := os.WriteFile(filepath.Join(dir, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{".local/share/linphone", ".config/linphone"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-c", filepath.Join(dir, "rc"), "-d", "6", "-l", filepath.Join(dir, "log"))
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, p, p, 3*time.Second
	var err error
	if p.in, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log")) // what there is of it
			t.Logf("linphonec said %s\n%s", p.said(), log[max(0, len(log)-4000):])
		}
	})
	return p
}

func (p *phone) command(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// within waits for a condition that nothing announces.
func within(met func() bool) bool {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(live.Patience)
	for !met() {
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
	return true
}

func TestLinphoneBySHA256(t *testing.T) {
	soft, sim := live.NewUsers("soft", 1, live.SHA256)[0], live.NewUsers("sim", 1, live.AKAv2)[0]
	n := live.Start(t, live.Options{Configure: func(c *config.Config) { c.CI.Digest.Enabled, c.CI.TLS.MinVersion = true, "1.2" }})
	if err := n.Provision(context.Background(), soft, sim); err != nil {
		t.Fatal(err)
	}
	messages := make(chan ue.Message, 4)
	bob := ours(t, n, sim, messages)
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	if _, err := bob.Register(ctx); err != nil {
		t.Fatal(err)
	}
	alice := start(t, n, soft)
	if !within(func() bool { return n.SCSCF.Registered() == 2 }) {
		t.Fatal("linphonec did not register")
	}
	alice.command("chat " + sim.IMPU + " hello from linphone")
	select {
	case m := <-messages:
		if m.From != soft.IMPU || !m.Asserted || !strings.Contains(string(m.Body), "hello from linphone") {
			t.Errorf("%+v", m)
		}
	case <-ctx.Done():
		t.Fatal("no message came")
	}
	if err := bob.SendMessage(ctx, soft.IMPU, "text/plain", []byte("hello linphone")); err != nil {
		t.Error(err)
	}
	if !within(func() bool { return strings.Contains(alice.said(), "hello linphone") }) {
		t.Error("linphonec does not show the message")
	}
}

// ours is a client of ours with a card.
func ours(t *testing.T, n *live.Node, u *live.User, messages chan ue.Message) *ue.UE {
	t.Helper()
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: live.Domain, IMPUs: []string{u.IMPU}},
		K: u.K, OPc: u.OPc, State: isim.Volatile{}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := ue.New(ue.Config{Card: card, Proxy: n.TLS, RootCAs: n.CA, ServerName: "pcscf." + live.Domain, Clock: shard.RealClock(),
		Rand: rand.Reader, OnMessage: func(m ue.Message) { messages <- m }, ListenPacket: func(local netip.Addr) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("our client: %v", err)
		}
	})
	return c
}
