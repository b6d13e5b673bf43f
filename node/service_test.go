package node_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/imsservice"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
	"imsafe/store/seal"
)

const mailbox = `manifest = 1
service  = "mailbox"
provider = "example"
domain   = "` + home + `"
endpoint = "sips:mailbox.as.` + home + `"
psi      = ["sip:mailbox@` + home + `"]
scopes   = ["session.answer"]
users    = { groups = ["staff"] }
limits   = { cps = 20, sessions = 200 }
expires  = 2099-12-31
[[trigger]]
case     = "terminating"
methods  = ["INVITE"]
when     = ["unregistered"]
priority = 50
`

// agency is an office whose operator has an approval key, and an authority.
type agency struct {
	*office
	*node.Operations
	approver ed25519.PrivateKey
}

func openAgency(t *testing.T) *agency {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.IMS.Domain, c.Node.DataDir, c.Mw.PCSCF.Certificate = home, filepath.Join(t.TempDir(), "store"), "edge.as."+home
	c.IS.ApprovalKeys = []string{config.FormatApprovalKey(public)}
	clock := shard.RealClock()
	st, err := node.OpenStore(&c, clock, slog.New(slog.DiscardHandler), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	a := &agency{office: &office{t: t, ring: generate(t)}, approver: private}
	a.Operations, err = node.OpenOperations(&c, clock, nil, st, node.NewKeys(a.ring, func() (*seal.Keyring, error) { return a.ring, nil }))
	if err != nil {
		t.Fatal(err)
	}
	a.verbs = a.Operations.Verbs()
	a.establish(home)
	return a
}

// establish gives it an authority.
func (a *agency) establish(domain string) {
	a.t.Helper()
	root, err := ca.NewRoot(rand.Reader, time.Now, domain, time.Hour)
	if err != nil {
		a.t.Fatal(err)
	}
	request, err := a.Authority.Request()
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := root.Sign(request, time.Hour)
	if err == nil {
		err = a.Authority.Install(signed)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// request sends a manifest, and returns what an operator signs about it.
func (a *agency) request(manifest string) (*isc.Approval, error) {
	a.t.Helper()
	m, err := isc.Parse([]byte(manifest))
	if err != nil {
		a.t.Fatal(err)
	}
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	csr, err := ca.NewRequest(rand.Reader, key, m.Identity("a"), m.Host())
	if err != nil {
		a.t.Fatal(err)
	}
	token, err := a.Registry.Invite(time.Minute)
	if err != nil {
		a.t.Fatal(err)
	}
	_, f, err := a.Registry.Request(token, []byte(manifest), csr)
	if err != nil {
		return nil, err
	}
	e, err := a.Registry.Show(m.Service)
	if err != nil {
		a.t.Fatal(err)
	}
	approval := &isc.Approval{Service: m.Service, Manifest: sha256.Sum256([]byte(manifest)), Key: f, Granted: m.Asked, Approver: "o", Time: time.Now().UTC().Truncate(time.Second), Serial: e.Serial + 1}
	if err := approval.Sign(a.approver); err != nil {
		a.t.Fatal(err)
	}
	return approval, nil
}

// stands wants the HSS to have these holders of the set, and these public service identities with criteria or without.
func (a *agency) stands(when string, groups, psi []string, criteria bool) {
	a.t.Helper()
	sharing, err := a.HSS.Sharing(context.Background(), 1000)
	if err != nil {
		a.t.Fatal(err)
	}
	if !slices.Equal(sharing.Groups, groups) || sharing.All || len(groups) > 0 && !sharing.Unregistered {
		a.t.Errorf("%s: the set is shared with %+v, want %v", when, sharing, groups)
	}
	var have []string
	v, err := a.HSS.Show("service.mailbox@" + home)
	if err != nil && !errors.Is(err, hss.ErrUnknown) {
		a.t.Fatal(err)
	}
	if v != nil {
		for _, p := range v.Sets[0].Public {
			have = append(have, p.IMPU)
		}
	}
	if !slices.Equal(have, psi) {
		a.t.Errorf("%s: public service identities %v, want %v", when, have, psi)
	}
	profile, err := a.HSS.Profile("service.mailbox")
	if err != nil {
		profile = &cx.ServiceProfile{}
	}
	if (len(profile.Criteria) > 0) != criteria {
		a.t.Errorf("%s: their criteria are %+v", when, profile.Criteria)
	}
}

// TestServices_republish dies between the register and the HSS at each step: what is owed is done at the next start.
func TestServices_republish(t *testing.T) {
	a := openAgency(t)
	psi := []string{"sip:mailbox@" + home}
	approval, err := a.request(mailbox)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name     string
		do       func() error
		groups   []string
		psi      []string
		criteria bool
	}{
		{"approved", func() error { return a.Registry.Approve(approval) }, []string{"staff"}, psi, true},
		{"suspended", func() error { return a.Registry.Suspend("mailbox") }, []string{"staff"}, psi, true},
		{"resumed", func() error { return a.Registry.Resume("mailbox") }, []string{"staff"}, psi, true},
		{"revoked", func() error { return a.Registry.Revoke("mailbox") }, nil, nil, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // once more changes nothing
			if err := a.Republish(context.Background()); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			a.stands(step.name, step.groups, step.psi, step.criteria)
		}
	}
}

// TestServices_identities changes what a service is called, and refuses what somebody else is called.
func TestServices_identities(t *testing.T) {
	a := openAgency(t)
	a.do("user.add", user("alice"))
	alice, err := a.request(strings.ReplaceAll(mailbox, `"sip:mailbox@`, `"sip:alice@`))
	if err != nil {
		t.Fatal(err)
	}
	approve := func(x *isc.Approval) string {
		return `{"approval":"` + strings.ReplaceAll(string(x.Marshal()), "\n", `\n`) + `"}`
	}
	if e := a.refused("service.taken", "service.approve", approve(alice)); !strings.Contains(e.Error(), "alice@") {
		t.Errorf("a subscriber's identity: %v", e)
	}
	if s := a.Registry.Service("mailbox"); s != nil {
		t.Errorf("approved all the same: %+v", s)
	}
	if _, err := a.request(strings.ReplaceAll(mailbox, `"sip:mailbox@`, `"sip:mailbox@as.`)); err == nil || !strings.Contains(err.Error(), "psi[0]") {
		t.Errorf("an identity that the HSS does not serve: %v", err)
	}
	a.refused("mistakes", "profile.put", `{"name":"stolen","shared_sets":[1000]}`)
	for _, names := range []string{"mailbox", "box"} {
		x, err := a.request(strings.ReplaceAll(mailbox, `"sip:mailbox@`, `"sip:`+names+`@`))
		if err != nil {
			t.Fatal(err)
		}
		a.do("service.approve", approve(x))
		a.stands(names, []string{"staff"}, []string{"sip:" + names + "@" + home}, true)
	}
	none, err := a.request(strings.Replace(mailbox, `psi      = ["sip:mailbox@`+home+`"]`, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	a.do("service.approve", approve(none))
	a.stands("without", []string{"staff"}, nil, false)
	if _, err := a.request(strings.NewReplacer("mailbox.as", "edge.as", `"mailbox"`, `"edge"`).Replace(mailbox)); !errors.Is(err, imsservice.ErrTaken) {
		t.Errorf("the name of another node: %v", err)
	}
}

// TestServices_sealingKey rotates the sealing key: the intermediate's is sealed with the new one.
func TestServices_sealingKey(t *testing.T) {
	a := openAgency(t)
	next, err := a.ring.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.ring = next
	probe, err := node.Probe(next, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(node.RotateKeys{Probe: probe})
	if err != nil {
		t.Fatal(err)
	}
	if out := a.do("key.rotate", string(input)); !strings.Contains(string(out), `"resealed":1`) {
		t.Errorf("rotated: %s", out)
	}
}
