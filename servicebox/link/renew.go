package link

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// The times of a renewal.
const (
	retryRenewal   = time.Minute // the one before is good for its last third: time enough to try again
	renewalTakes   = 15 * time.Second
	largestAnswer  = 1 << 20 // octets
	renewAfterPart = 2       // thirds of its life
)

// keep renews the certificate whenever two thirds of its life are over, until ctx ends.
func (d *Dialer) keep(ctx context.Context) {
	for {
		wait := retryRenewal
		if pair, err := d.certificate(); err == nil {
			life := pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore)
			wait = pair.Leaf.NotBefore.Add(renewAfterPart * life / 3).Sub(d.o.Clock.Wall())
		}
		pause(ctx, max(wait, 0))
		if ctx.Err() != nil {
			return
		}
		if err := d.renew(ctx); err != nil && ctx.Err() == nil {
			d.o.Log.Warn("the certificate was not renewed", "error", err)
		}
		pause(ctx, retryRenewal) // also after a success: a clock that is wrong must not ask without end
	}
}

// renew fetches a certificate for the approved key with a request that the key has signed (RFC 2986), and writes it in the place of the
// one before.
func (d *Dialer) renew(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			d.counters.RenewalFailed.Add(1)
			return
		}
		d.counters.Renewed.Add(1)
		d.o.Log.Info("certificate renewed", "peer", d.o.Enrol)
	}()
	key, err := d.key()
	if err != nil {
		return err
	}
	request, err := d.request(key)
	if err != nil {
		return err
	}
	chain, err := d.ask(ctx, request)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return errors.New("link: the core has sent no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("link: what the core has sent: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("link: the certificate is about another key than ours")
	}
	if err := d.ours(leaf); err != nil {
		return err
	}
	next := d.files.Chain + ".new"
	if err := os.WriteFile(next, chain, 0o644); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return os.Rename(next, d.files.Chain)
}

// key reads the key, which does not leave this machine.
func (d *Dialer) key() (*ecdsa.PrivateKey, error) {
	if err := d.private(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(d.files.Key)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	defer clear(text)
	if block, _ := pem.Decode(text); block != nil {
		if any, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := any.(*ecdsa.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("link: %s is no ECDSA key", d.files.Key)
}

// request is for the same names: one URI and the host of the endpoint.
func (d *Dialer) request(key *ecdsa.PrivateKey) ([]byte, error) {
	identity, err := url.Parse(d.manifest.Identity(d.o.Instance))
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{identity}, DNSNames: []string{d.manifest.Host()}}, key)
}

// ask sends a request to the core's door for enrolment, and returns the chain in PEM. The core is known by its root.
func (d *Dialer) ask(ctx context.Context, request []byte) ([]byte, error) {
	roots, err := d.Roots()
	if err != nil {
		return nil, err
	}
	host := "enrol." + d.manifest.Domain
	var dialer net.Dialer
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, d.o.Enrol)
		},
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: host, Time: d.o.Clock.Wall},
	}
	defer transport.CloseIdleConnections()
	ctx, stop := context.WithTimeout(ctx, renewalTakes)
	defer stop()
	body, err := json.Marshal(struct {
		Request []byte `json:"request"`
	}{request})
	if err != nil {
		return nil, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/v1/certificate", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	post.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Client{Transport: transport}).Do(post)
	if err != nil {
		return nil, fmt.Errorf("link: the core's door for enrolment: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, largestAnswer))
	if err != nil {
		return nil, fmt.Errorf("link: the core's door for enrolment: %w", err)
	}
	var out struct{ Chain, Code, Message string }
	_ = json.Unmarshal(text, &out) // without a body the status still stands
	switch {
	case answer.StatusCode == http.StatusOK:
		return []byte(out.Chain), nil
	case answer.StatusCode == http.StatusAccepted:
		return nil, errors.New("link: an operator has not approved it yet")
	}
	return nil, fmt.Errorf("link: the core refuses (%d %s): %s", answer.StatusCode, out.Code, out.Message)
}
