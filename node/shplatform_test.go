package node_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/refpoint/isc"
	"imsafe/refpoint/sh"
)

const platformHost = "mailbox.as." + splitDomain

const shManifest = `manifest = 1
service  = "mailbox"
provider = "example"
domain   = "` + splitDomain + `"
endpoint = "sips:` + platformHost + `"
scopes   = ["session.answer"]
expires  = 2099-12-31
[[sh]]
data  = "IMSUserState"
ops   = ["pull"]
users = { groups = ["staff"] }
rate  = "100/s"
[[sh]]
data  = "RepositoryData"
ops   = ["pull", "update"]
users = { groups = ["staff"] }
rate  = "6000/m"
[[sh]]
data  = "MSISDN"
ops   = ["pull"]
users = { all = true }
rate  = "100/s"
[[sh]]
data  = "DSAI"
ops   = ["pull"]
users = { groups = ["staff"], consent = true }
rate  = "100/s"
`

// platforms is a node with an authority of service platforms, and an operator who approves them.
type platforms struct {
	*split
	t        *testing.T
	n        *node.Node
	at       netip.AddrPort
	approver ed25519.PrivateKey
}

func newPlatforms(t *testing.T) *platforms {
	t.Helper()
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, splitDomain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &split{authority: authority, stop: map[*node.Node]func(){}, socket: map[*node.Node]string{}}
	c := config.Default()
	c.Node.Roles, c.Node.Number = []string{"hss"}, 3
	c.Sh.Listen, c.IS.ApprovalKeys = free(t), []string{config.FormatApprovalKey(public)}
	p := &platforms{split: s, t: t, at: c.Sh.Listen.AddrPort, approver: private, n: s.start(t, &c, "hss."+splitDomain)}
	root, err1 := ca.NewRoot(rand.Reader, time.Now, splitDomain, time.Hour)
	request, err2 := p.n.Authority.Request()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	signed, err := root.Sign(request, time.Hour)
	ctx := context.Background()
	if err := errors.Join(err, p.n.Authority.Install(signed), p.n.HSS.PutGroup(ctx, &hss.Group{Name: "staff"}), p.n.HSS.Add(ctx, &hss.Subscriber{Group: "staff",
		Card:   hss.Card{IMPI: "alice@" + splitDomain, K: hss.Secret(strings.Repeat("0102", 8)), OPc: hss.Secret(strings.Repeat("0304", 8))},
		Public: []hss.Public{{IMPU: "sip:alice@" + splitDomain}, {IMPU: "tel:+15550001"}}})); err != nil {
		t.Fatal(err)
	}
	return p
}

// enrol has a platform approved, and returns its certificate.
func (p *platforms) enrol(manifest string) tls.Certificate {
	p.t.Helper()
	m, err := isc.Parse([]byte(manifest))
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	csr, err1 := ca.NewRequest(rand.Reader, key, m.Identity("a"), m.Host())
	token, err2 := p.n.Registry.Invite(time.Minute)
	_, f, err3 := p.n.Registry.Request(token, []byte(manifest), csr)
	if err := errors.Join(err1, err2, err3); err != nil {
		p.t.Fatal(err)
	}
	approval := &isc.Approval{Service: m.Service, Manifest: sha256.Sum256([]byte(manifest)), Key: f, Granted: m.Asked, Approver: "o", Time: time.Now().UTC().Truncate(time.Second), Serial: 1}
	if err := errors.Join(approval.Sign(p.approver), p.n.Registry.Approve(approval)); err != nil {
		p.t.Fatal(err)
	}
	chain, err := p.n.Registry.Certificate(csr)
	if err != nil {
		p.t.Fatal(err)
	}
	return certificateOf(key, chain)
}

// A platform that an operator has approved is let in on Sh with what its manifest says and nothing else, until the approval is taken back.
func TestSh_platforms(t *testing.T) {
	p := newPlatforms(t)
	own := p.enrol(shManifest)
	mail := startServiceWith(t, own, p.authority, platformHost, p.at, nil)
	mail.wantUp(t, true)
	const alice = "sip:alice@" + splitDomain
	if a, err := mail.pull(t, alice, sh.Key{Reference: sh.RefIMSUserState}); err != nil || *a.Data.IMS.UserState != sh.NotRegistered {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := mail.pull(t, alice, sh.Key{Reference: sh.RefRepositoryData, ServiceIndication: "mailbox"}); err != nil {
		t.Errorf("its own documents: %v", err)
	}
	for what, k := range map[string]sh.Key{
		"documents of others":                  {Reference: sh.RefRepositoryData, ServiceIndication: "other"},
		"what it did not ask for":              {Reference: sh.RefSCSCFName},
		"all users, which nobody has granted":  {Reference: sh.RefMSISDN},
		"what each of the users must agree to": {Reference: sh.RefDSAI, DSAITag: "x"},
	} {
		if _, err := mail.pull(t, alice, k); !errors.Is(err, sh.ErrUserDataCannotBeRead) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := p.n.Registry.Suspend("mailbox"); err != nil {
		t.Fatal(err)
	}
	if v := p.n.Permissions.Allow("mailbox", sh.Key{Reference: sh.RefIMSUserState}, sh.Pull, sh.User{Group: "staff"}); v != sh.Denied {
		t.Errorf("suspended: %v", v)
	}
	mail.wantUp(t, false)
	if _, err := mail.pull(t, alice, sh.Key{Reference: sh.RefIMSUserState}); err == nil {
		t.Error("suspended, and answered")
	}
	if err := p.n.Registry.Resume("mailbox"); err != nil {
		t.Fatal(err)
	}
	mail.wantUp(t, true)
	if _, err := mail.pull(t, alice, sh.Key{Reference: sh.RefIMSUserState}); err != nil {
		t.Errorf("resumed: %v", err)
	}
}

// Only the register vouches for a platform: a certificate of another authority of the network with its name is not enough.
func TestSh_platforms_are_vouched_for_by_the_register(t *testing.T) {
	p := newPlatforms(t)
	p.enrol(shManifest)
	forged := startService(t, p.authority, platformHost, p.at, nil)
	select {
	case up := <-forged.up:
		t.Errorf("up is %v", up)
	case <-time.After(2 * time.Second):
	}
	if _, err := forged.pull(t, "sip:alice@"+splitDomain, sh.Key{Reference: sh.RefIMSUserState}); err == nil {
		t.Error("it is answered")
	}
}
