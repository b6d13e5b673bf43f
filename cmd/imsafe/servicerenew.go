package main

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/link"
)

type serviceRenewCmd struct {
	Manifest string `arg:"" help:"The manifest, NAME.service.toml." type:"existingfile"`
	To       string `help:"Address of the core's door for enrolment, HOST:PORT." required:"" placeholder:"HOST:PORT"`
	Instance string `help:"Name of this instance of the service." default:"a"`
	NewKey   bool   `help:"Make a new key, too."`
	Keep     bool   `help:"Stay, and renew each time when two thirds of the life are over."`
}

// Run renews now, or whenever it is time.
func (v *serviceRenewCmd) Run(a *app) error {
	if !v.Keep {
		told, err := v.renew(a)
		if err == nil && a.json {
			a.print(told)
		}
		return err
	}
	for wait := time.Duration(0); ; {
		select {
		case <-a.ctx.Done():
			return nil
		case <-time.After(wait):
		}
		told, err := v.renew(a)
		switch {
		case err != nil: // the one before is good for the last third: time enough to try again
			fmt.Fprintln(a.stderr, "imsafe:", err)
			wait = retryRenewal
		case a.json:
			a.print(told)
			fallthrough
		default:
			wait = time.Until(*told.RenewAt)
		}
	}
}

// retryRenewal is how long a renewal waits that did not succeed.
const retryRenewal = time.Minute

// renew fetches one certificate and writes it in the place of the one before.
func (v *serviceRenewCmd) renew(a *app) (*requested, error) {
	text, err := a.readText(v.Manifest)
	if err != nil {
		return nil, err
	}
	m, err := isc.Parse(text)
	if err != nil {
		return nil, usage{fmt.Errorf("%s:\n%w", v.Manifest, err)}
	}
	at := link.FilesOf(v.Manifest, v.Instance)
	old, err := tls.LoadX509KeyPair(at.Chain, at.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: `imsafe service request` makes a key and fetches the first certificate", err)
	}
	key, ok := old.PrivateKey.(crypto.Signer)
	path := "/v1/certificate"
	if v.NewKey {
		path = "/v1/renew"
		key, err = ca.NewKey(rand.Reader)
	}
	if err != nil || !ok {
		return nil, errors.Join(err, fmt.Errorf("%s holds no key that can sign", at.Key))
	}
	request, err := ca.NewRequest(rand.Reader, key, m.Identity(v.Instance), m.Host())
	if err != nil {
		return nil, err
	}
	e := &enrolee{verb: &serviceRequestCmd{To: v.To, CA: at.Root, Instance: v.Instance}, app: a, manifest: m, request: request, files: at}
	e.told = requested{Service: m.Service, Key: at.Key}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	e.told.Fingerprint = isc.FingerprintOf(public).String()
	client, err := e.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	if v.NewKey {
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{old}
	}
	var issued imsservice.Issued
	status, err := e.post(client, path, imsservice.Proof{Request: request}, &issued)
	if err == nil && status != http.StatusOK {
		err = errors.New("the core has not approved it")
	}
	if err == nil && v.NewKey {
		err = replaceKey(at.Key, key)
	}
	if err == nil {
		err = e.write(&issued)
	}
	return &e.told, err
}

// replaceKey writes a key over the one before, whole or not at all.
func replaceKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(der)
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := newSecretFile(next, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	return os.Rename(next, path)
}
