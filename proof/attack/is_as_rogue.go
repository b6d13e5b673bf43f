package attack

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// asRogue: somebody says that he is a service platform.
func asRogue() Attack {
	controls := []secure.ControlID{secure.ISAuthenticationMTLS}
	return Attack{
		ID: "is.as.rogue", Number: "IS-01", Title: "an impostor speaks as a service platform",
		Text:     "an application server is inside the trust domain: whoever is taken for one calls in anybody's name",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ApplicationsManagement,
		Source: "TS 33.203 Annex J; RFC 5922 7", Access: []Access{ISC},
		Approved: []Approved{{Name: chat, Manifest: rights("message.send", "session.originate")}},
		Bounds:   Bounds{Packets: 80, Bytes: 80_000, Conns: 5, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "without", Position: Platform, Controls: controls, Run: impostor(func(*Field) (*tls.Certificate, error) { return nil, nil })},
			{Name: "self-made", Position: Platform, Controls: controls, Run: impostor((*Field).selfMade)},
			{Name: "own-authority", Position: EnrolledPlatform, Controls: controls, Run: impostor((*Field).ownAuthority)},
			{Name: "unapproved", Position: EnrolledPlatform, Controls: controls, Run: impostor(by(Unapproved))},
			{Name: "another-key", Position: EnrolledPlatform, Controls: controls, Run: impostor(by(AnotherKey))},
		},
	}
}

// chat is a platform that may send messages of its own.
const chat = "chat"

// by has the impostor show one of the certificates of the target.
func by(name string) func(*Field) (*tls.Certificate, error) {
	return func(f *Field) (*tls.Certificate, error) {
		p, err := f.platform(name)
		if err != nil {
			return nil, err
		}
		return &p.Certificate, nil
	}
}

// impostor connects five times as the platform chat, with a certificate that is not its own, and writes to carol in its name.
func impostor(shows func(*Field) (*tls.Certificate, error)) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, carol, err := f.callerAndCallee(ctx)
		if err != nil {
			return err
		}
		certificate, err := shows(f)
		if err != nil {
			return err
		}
		const times, forged = 5, "forged"
		taken, refused := 0, errors.New("nothing")
		for range times {
			s, err := f.serverBy(ctx, f.attacker, chat, certificate, nil)
			if err != nil {
				refused = err
				continue
			}
			var answer *sip.Message
			err = within(ctx, soon, func(ctx context.Context) (err error) {
				answer, err = s.Ask(ctx, s.writes(carol.IMPU, forged))
				return err
			})
			if err != nil {
				refused = err
			} else if answer.Status() == 200 {
				taken++
			}
		}
		o.Arrived("%d connections, the last ends with: %v", times, refused)
		o.Wire(taken > 0, "%d of %d messages of the impostor are taken", taken, times)
		heard, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == forged })
		if err != nil {
			return err
		}
		o.Users = heard
		o.Peer(heard > 0, "carol's telephone shows %d of %d messages as from the platform", heard, times)
		return nil
	}
}

// selfMade is a certificate with all the names of the platform chat, by an authority that the attacker has made.
func (f *Field) selfMade() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), f.Random)
	if err != nil {
		return nil, err
	}
	return f.selfSigned(key)
}

// ownAuthority is one for the key that was approved: its owner would need the network no more, whatever has ended or was taken back of what that has signed.
func (f *Field) ownAuthority() (*tls.Certificate, error) {
	p, err := f.platform(chat)
	if err != nil {
		return nil, err
	}
	key, is := p.Certificate.PrivateKey.(crypto.Signer)
	if !is {
		return nil, errors.New("attack: the key of the platform does not sign")
	}
	return f.selfSigned(key)
}

func (f *Field) selfSigned(key crypto.Signer) (*tls.Certificate, error) {
	who := Approved{Name: chat}
	now := f.Clock.Wall()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		DNSNames: []string{who.host(f.Domain)}, URIs: []*url.URL{{Scheme: "spiffe", Host: f.Domain, Path: "/as/lab/" + chat + "/a"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(f.Random, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
