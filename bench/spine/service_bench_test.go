package spine

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
)

// childServices is how many services stand in the sessions of callers.
const childServices = "IMSAFE_BENCH_SERVICES"

// serviceManifest is that of the service with a number: in the calls of everybody.
func serviceManifest(number int) string {
	name := "bench" + strconv.Itoa(number)
	return fmt.Sprintf(`manifest = 1
service  = %q
provider = "bench"
domain   = %q
endpoint = "sips:%s.as.%s:5061"
scopes   = ["session.proxy", "session.answer", "identity.private"]
users    = { all = true }
limits   = { cps = 10000, sessions = 1000000 }
expires  = 2099-12-31
[[trigger]]
case     = "originating"
methods  = ["INVITE"]
priority = %d
on_failure = "reject"
`, name, domain, name, domain, number+1)
}

// platforms are the services of a child: it approves them itself and leaves what they need beside its directory.
type platforms struct {
	count    int
	approver ed25519.PrivateKey
}

func newPlatforms(c *config.Config) (*platforms, error) {
	count, _ := strconv.Atoi(os.Getenv(childServices))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil || count == 0 {
		return &platforms{}, err
	}
	c.IS.Listen = config.Address{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}
	c.IS.ApprovalKeys = []string{config.FormatApprovalKey(public)}
	return &platforms{count, private}, nil
}

// join approves and certifies them at a node that runs.
func (p *platforms) join(n *node.Node, c *config.Config, dir string) error {
	if p.count == 0 {
		return nil
	}
	root, err := ca.NewRoot(rand.Reader, time.Now, domain, time.Hour)
	if err != nil {
		return err
	}
	request, err := n.Authority.Request()
	if err != nil {
		return err
	}
	signed, err := root.Sign(request, time.Hour)
	if err != nil {
		return err
	}
	if err := errors.Join(n.Authority.Install(signed), os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "core-ca.crt"), root.Certificate(), 0o600)); err != nil {
		return err
	}
	for i := range p.count {
		if err := p.one(n, c, dir, serviceManifest(i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *platforms) one(n *node.Node, c *config.Config, dir, text string) error {
	m, err := isc.Parse([]byte(text))
	if err != nil {
		return err
	}
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		return err
	}
	csr, err := ca.NewRequest(rand.Reader, key, m.Identity("a"), m.Host())
	if err != nil {
		return err
	}
	token, err := n.Registry.Invite(time.Minute)
	if err != nil {
		return err
	}
	_, fingerprint, err := n.Registry.Request(token, []byte(text), csr)
	if err != nil {
		return err
	}
	approval := &isc.Approval{Service: m.Service, Manifest: sha256.Sum256([]byte(text)), Granted: m.Asked, AllUsers: true, Approver: "bench", Key: fingerprint,
		Time: time.Now().UTC().Truncate(time.Second), Serial: 1}
	if err := approval.Sign(p.approver); err != nil {
		return err
	}
	operator := management.NewClient(c.ManagementSocket())
	defer operator.Close()
	if err := operator.Call(context.Background(), "service.approve", node.ApproveService{Approval: string(approval.Marshal())}, nil); err != nil {
		return err
	}
	chain, err := n.Registry.Certificate(csr)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var certificates []byte
	for _, c := range chain {
		certificates = append(certificates, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	base := filepath.Join(dir, m.Service)
	return errors.Join(os.WriteFile(base+".service.toml", []byte(text), 0o600), os.WriteFile(base+".a.crt", certificates, 0o600),
		os.WriteFile(base+".a.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

// servicesOf is where the files of the services of a node lie.
func servicesOf(dir string) string { return dir + ".services" }

// serves runs count services in this process, connected to the node over mutual TLS, each with a handler.
func serves(b *testing.B, s *server, count int, handler as.Handler) {
	b.Helper()
	ctx, stop := context.WithCancel(context.Background())
	b.Cleanup(stop)
	for i := range count {
		path := filepath.Join(servicesOf(s.dir), "bench"+strconv.Itoa(i)+".service.toml")
		svc, err := as.Open(path, as.At(s.isc.String()), as.Log(slog.New(slog.DiscardHandler)))
		if err != nil {
			b.Fatal(err)
		}
		svc.Handle(as.Originating, handler)
		done := make(chan error, 1)
		go func() { done <- svc.Run(ctx) }()
		b.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				b.Error(err)
			}
			if n := svc.Counters().Sessions.Load(); n < uint64(b.N) {
				b.Errorf("service %d was asked %d times for %d calls", i, n, b.N)
			}
		})
		for !svc.Connected() {
			time.Sleep(time.Millisecond)
		}
	}
}

// handlers are ways to take part in a call.
var handlers = map[string]as.Handler{
	"leaves":       func(_ context.Context, x *as.Session) error { return x.Continue() },
	"stays":        func(_ context.Context, x *as.Session) error { return x.Continue(as.Stay()) },
	"back-to-back": func(ctx context.Context, x *as.Session) error { _, err := x.Bridge(ctx); return err },
}

// BenchmarkCallWithServices is the call of P3 with services of the caller, each in a process other than the node's, over mutual TLS: what trigger,
// identifier and guard add is the difference to BenchmarkCall in the same run.
func BenchmarkCallWithServices(b *testing.B) {
	for _, c := range []struct {
		count int
		how   string
	}{{0, "leaves"}, {1, "leaves"}, {2, "leaves"}, {1, "stays"}, {1, "back-to-back"}} {
		b.Run(fmt.Sprintf("%d-%s", c.count, c.how), func(b *testing.B) {
			s := start(b, childServices+"="+strconv.Itoa(c.count))
			serves(b, s, c.count, handlers[c.how])
			callers, all := pairs(b, s)
			measure(b, callers, s, func(c *client, turn int) bool { return all[c].call(turn) })
		})
	}
}

// BenchmarkCallAlone is one call at a time: ns/op is how long it takes from INVITE to the 200 of BYE, without a queue anywhere.
func BenchmarkCallAlone(b *testing.B) {
	for count := range 3 {
		b.Run(fmt.Sprintf("%d-leaves", count), func(b *testing.B) {
			s := start(b, childServices+"="+strconv.Itoa(count))
			serves(b, s, count, handlers["leaves"])
			callers, all := pairs(b, s)
			measure(b, callers[:1], s, func(c *client, turn int) bool { return all[c].call(turn) })
		})
	}
}
