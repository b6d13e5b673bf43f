package main

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"imsafe/ca"
	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/proof/attack"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
	"imsafe/trace/ladder"
)

// What of a target has to do with service platforms: its authority, its operator, and those that he has approved before the attack.

// targetCertificate is a certificate with its chain and its key, in PEM, and whose it is.
type targetCertificate struct {
	Host  string `json:"host"`
	Chain string `json:"chain"`
	Key   string `json:"key"`
}

// approver is the operator's key that is not on the core. The zero value makes one when it is asked.
type approver struct{ private ed25519.PrivateKey }

func (a *approver) key() ed25519.PublicKey {
	if a.private == nil {
		_, a.private, _ = ed25519.GenerateKey(rand.Reader) // never fails
	}
	return a.private.Public().(ed25519.PublicKey)
}

// platformInstance is the one instance of each platform.
const platformInstance = "a"

// wholeProfile is the service profile of users whose REGISTER is sent whole to a platform.
const wholeProfile = "whole"

// authorise gives the node an authority for service platforms, and the attacker invitations.
func (t *target) authorise(ready *targetReady) error {
	root, err := ca.NewRoot(rand.Reader, time.Now, targetDomain, time.Hour)
	if err != nil {
		return err
	}
	request, err := t.node.Authority.Request()
	if err != nil {
		return err
	}
	signed, err := root.Sign(request, time.Hour)
	if err == nil {
		err = t.node.Authority.Install(signed)
	}
	if err != nil {
		return err
	}
	ready.EnrolCA = string(root.Certificate())
	const invitations = 8
	for range invitations {
		token, err := t.node.Registry.Invite(time.Hour)
		if err != nil {
			return err
		}
		ready.Tokens = append(ready.Tokens, token)
	}
	return nil
}

// approve has every platform of the setup ask, be approved and get its certificate. The attacker gets two more of the same authority: for a
// name that nobody approved, and for an approved one with a key that nobody approved.
func (t *target) approve(ctx context.Context, ready *targetReady) error {
	for i := range t.setup.Approved {
		p := &t.setup.Approved[i]
		m, err := t.approvePlatform(ctx, p, ready)
		if err != nil {
			return fmt.Errorf("platform %s: %w", p.Name, err)
		}
		if i > 0 {
			continue
		}
		if _, err := t.issue(ready, attack.AnotherKey, m.Identity(platformInstance), m.Host(), 0); err != nil {
			return err
		}
		unknown := "nobody"
		if _, err := t.issue(ready, attack.Unapproved, "spiffe://"+targetDomain+"/as/lab/"+unknown+"/"+platformInstance, unknown+".as."+targetDomain, 0); err != nil {
			return err
		}
	}
	return nil
}

// issue makes a key and has the authority issue a certificate for it.
func (t *target) issue(ready *targetReady, name, identity, host string, life time.Duration) ([]byte, error) {
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := ca.NewRequest(rand.Reader, key, identity, host)
	if err != nil {
		return nil, err
	}
	chain, err := t.node.Authority.Service(csr, identity, host, cmp.Or(life, ca.MaxServiceLife))
	if err != nil {
		return nil, err
	}
	var raw [][]byte
	for _, cert := range chain {
		raw = append(raw, cert.Raw)
	}
	ready.Platforms[name], err = inPEM(host, key, raw...)
	return csr, err
}

// inPEM writes a key and the chain of its certificate down.
func inPEM(host string, key crypto.PrivateKey, chain ...[]byte) (*targetCertificate, error) {
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &targetCertificate{Host: host, Key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))}
	for _, cert := range chain {
		c.Chain += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	}
	return c, nil
}

// approvePlatform takes one from its request to its certificate.
func (t *target) approvePlatform(ctx context.Context, p *attack.Approved, ready *targetReady) (*isc.Manifest, error) {
	text := p.Text(targetDomain)
	m, err := isc.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	csr, err := t.issue(ready, p.Name, m.Identity(platformInstance), m.Host(), p.Life)
	if err != nil {
		return nil, err
	}
	token, err := t.node.Registry.Invite(time.Hour)
	if err != nil {
		return nil, err
	}
	_, key, err := t.node.Registry.Request(token, []byte(text), csr)
	if err != nil {
		return nil, err
	}
	a := &isc.Approval{Service: m.Service, Manifest: sha256.Sum256([]byte(text)), Key: key, Granted: m.Asked, Approver: "operator",
		Time: time.Now().UTC().Truncate(time.Second), Serial: 1}
	if err := a.Sign(t.operator.private); err != nil {
		return nil, err
	}
	if err := t.manage(ctx, "service.approve", node.ApproveService{Approval: string(a.Marshal())}, nil); err != nil {
		return nil, err
	}
	if !p.Whole {
		return m, nil
	}
	return m, t.node.HSS.PutProfile(ctx, wholeProfile, wholeTo(m))
}

// wholeTo is the profile of users whose REGISTER goes to a platform as they sent it (TS 29.228 B.2.5, IncludeRegisterRequest).
func wholeTo(m *isc.Manifest) *cx.ServiceProfile {
	register := cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{{Groups: []int{0}, Kind: cx.SPTMethod, Pattern: "REGISTER"}}}
	return &cx.ServiceProfile{SubscribedMediaProfile: -1, Criteria: []cx.InitialFilterCriteria{{Trigger: &register,
		Server: cx.ApplicationServer{ServerName: m.ServerName(), IncludeRegisterRequest: true}}}}
}

// manage is the operator at the node's own door.
func (t *target) manage(ctx context.Context, verb string, in, out any) error {
	client := management.NewClient(t.config().ManagementSocket())
	defer client.Close()
	return client.Call(ctx, verb, in, out)
}

// verifyLog returns where the log of decisions is broken.
func (t *target) verifyLog(ctx context.Context) error {
	var r node.LogReport
	if err := t.manage(ctx, "log.verify", node.VerifyLog{}, &r); err != nil {
		return err
	}
	if !r.Whole {
		return fmt.Errorf("%s at record %d", r.Fault.How, r.Fault.Record)
	}
	return nil
}

// obey carries an order out and returns what is answered.
func (t *target) obey(ctx context.Context, line []byte) any {
	var o targetOrder
	err := json.Unmarshal(line, &o)
	switch {
	case err != nil:
	case o.Verb == "":
		return t.notes.events()
	case o.Verb == orderDraw:
		t.draw(true)
	case o.Verb == orderDrawn:
		return telling(ladder.Merge(t.draw(false)...))
	case o.Verb == attack.VerifyLog:
		err = t.verifyLog(ctx)
	case o.Verb == attack.LoseSignalling:
		for _, p := range t.parts {
			if p.node.Media != nil {
				p.node.Media.Abandon()
			}
		}
	case o.Verb == attack.Suspend:
		err = t.manage(ctx, "service.suspend", node.SuspendService{Name: o.Service}, nil)
	case o.Verb == attack.RevokeCertificate:
		err = t.manage(ctx, "service.revoke", node.RevokeService{Name: o.Service, Instance: platformInstance}, nil)
	case o.Verb == attack.Revoke:
		err = t.manage(ctx, "service.revoke", node.RevokeService{Name: o.Service}, nil)
	default:
		err = fmt.Errorf("there is no order %q", o.Verb)
	}
	if err != nil {
		return targetDone{Error: err.Error()}
	}
	return targetDone{}
}
