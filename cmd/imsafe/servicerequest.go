package main

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
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/iface/management"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/link"
)

type serviceRequestCmd struct {
	Manifest      string        `arg:"" help:"The manifest, NAME.service.toml." type:"existingfile"`
	To            string        `help:"Address of the core's door for enrolment, HOST:PORT." required:"" placeholder:"HOST:PORT"`
	Token         string        `help:"One-use token of service invite; left out: only fetch the certificate of a request that was sent." placeholder:"TOKEN"`
	CA            string        `name:"ca" help:"The core's root certificate in PEM." type:"path" placeholder:"FILE"`
	CAFingerprint string        `name:"ca-fingerprint" help:"Its fingerprint, instead of the file." placeholder:"F"`
	Instance      string        `help:"Name of this instance of the service." default:"a"`
	Wait          bool          `help:"Wait until it is approved, and write the certificates."`
	Poll          time.Duration `help:"How often to ask while waiting." default:"3s" hidden:""`
}

// requested is what the verb prints as JSON.
type requested struct {
	Service     string     `json:"service"`
	Fingerprint string     `json:"fingerprint"`
	Key         string     `json:"key_file"`
	Sent        bool       `json:"sent"`
	Certificate string     `json:"certificate_file,omitempty"`
	CA          string     `json:"ca_file,omitempty"`
	RenewAt     *time.Time `json:"renew_at,omitempty"`
}

// Run asks, and fetches the certificate when it is approved.
func (v *serviceRequestCmd) Run(a *app) error {
	text, err := a.readText(v.Manifest)
	if err != nil {
		return err
	}
	m, err := isc.Parse(text)
	if err != nil {
		return usage{fmt.Errorf("%s:\n%w", v.Manifest, err)}
	}
	if _, ok := m.Instance(m.Identity(v.Instance)); !ok {
		return usage{fmt.Errorf("%q is no name of an instance: lower-case letters, digits and hyphens", v.Instance)}
	}
	at := link.FilesOf(v.Manifest, v.Instance)
	key, err := platformKey(a, at.Key)
	if err != nil {
		return err
	}
	request, err := ca.NewRequest(rand.Reader, key, m.Identity(v.Instance), m.Host())
	if err != nil {
		return err
	}
	csr, err := ca.ParseRequest(request)
	if err != nil {
		return err
	}
	e := &enrolee{verb: v, app: a, manifest: m, text: text, request: request, files: at}
	e.told = requested{Service: m.Service, Fingerprint: isc.FingerprintOf(csr.RawSubjectPublicKeyInfo).String(), Key: at.Key}
	return e.run()
}

// platformKey reads the key of an instance, or makes it. It never leaves this machine.
func platformKey(a *app, path string) (*ecdsa.PrivateKey, error) {
	text, err := a.readSecret(path, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ca.NewKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		defer clear(der)
		return key, newSecretFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if block, _ := pem.Decode(text); block != nil {
		if any, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := any.(*ecdsa.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%s is no key of a service platform: remove it, and another one is made", path)
}

// enrolee is a platform that asks.
type enrolee struct {
	verb     *serviceRequestCmd
	app      *app
	manifest *isc.Manifest
	text     []byte
	request  []byte
	files    link.Files
	told     requested
}

func (e *enrolee) run() error {
	client, err := e.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	a := e.app
	if e.verb.Token != "" {
		var out imsservice.Applied
		if _, err := e.post(client, "/v1/enrol", imsservice.Application{Token: e.verb.Token, Manifest: e.text, Request: e.request}, &out); err != nil {
			return err
		}
		if out.Fingerprint != e.told.Fingerprint {
			return errors.New("the core has seen another key than ours: somebody stands between")
		}
		e.told.Sent = true
	}
	a.say("key of %s, instance %s (%s):\n\n    %s\n", e.told.Service, e.verb.Instance, e.files.Key, e.told.Fingerprint)
	if !e.verb.Wait && e.told.Sent {
		a.say("Read it to the operator, who approves it: imsafe service approve %s --fingerprint %s --key FILE", e.told.Service, e.told.Fingerprint)
		a.say("Then fetch the certificate: the same command without --token.")
		e.finish()
		return nil
	}
	return e.fetch(client)
}

// finish prints what machines read.
func (e *enrolee) finish() {
	if e.app.json {
		e.app.print(e.told)
	}
}

// fetch gets the certificate, now or when it is approved.
func (e *enrolee) fetch(client *http.Client) error {
	if e.verb.Wait {
		defer e.app.progress("waiting to be approved")()
	}
	tick := time.NewTicker(max(e.verb.Poll, 50*time.Millisecond))
	defer tick.Stop()
	for {
		var issued imsservice.Issued
		status, err := e.post(client, "/v1/certificate", imsservice.Proof{Request: e.request}, &issued)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			return e.write(&issued)
		case !e.verb.Wait:
			return errors.New("it is not approved yet: try again later, or with --wait")
		}
		select {
		case <-e.app.ctx.Done():
			return e.app.ctx.Err()
		case <-tick.C:
		}
	}
}

// write writes what was issued beside the key, after a look at whether it is about the key.
func (e *enrolee) write(issued *imsservice.Issued) error {
	chain, err := ca.ParseCertificates([]byte(issued.Chain))
	if err != nil {
		return err
	}
	if isc.FingerprintOf(chain[0].RawSubjectPublicKeyInfo).String() != e.told.Fingerprint {
		return errors.New("the certificate is about another key than ours")
	}
	if err := errors.Join(os.WriteFile(e.files.Chain, []byte(issued.Chain), 0o644), os.WriteFile(e.files.Root, []byte(issued.Root), 0o644)); err != nil {
		return err
	}
	e.told.Certificate, e.told.CA, e.told.RenewAt = e.files.Chain, e.files.Root, &issued.RenewAt
	e.app.say("approved: %s and %s are written; renew it at %s", e.files.Chain, e.files.Root, utc(issued.RenewAt))
	e.finish()
	return nil
}

// client is one that talks to the core alone.
func (e *enrolee) client() (*http.Client, error) {
	var roots *x509.CertPool
	switch {
	case e.verb.CA != "":
		text, err := e.app.readText(e.verb.CA)
		if err != nil {
			return nil, err
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return nil, usage{fmt.Errorf("%s holds no certificate in PEM", e.verb.CA)}
		}
	case e.verb.CAFingerprint == "":
		return nil, usage{errors.New("how is the core known? Give --ca-fingerprint, which `imsafe service invite` prints, or --ca")}
	}
	var d net.Dialer
	return &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, e.verb.To)
		},
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, ServerName: imsservice.EnrolmentHost(e.manifest.Domain), InsecureSkipVerify: true,
			VerifyConnection: imsservice.VerifyCore(e.manifest.Domain, roots, e.verb.CAFingerprint, time.Now)},
	}}, nil
}

// afterRefusal says what a provider does about a refusal. What a stranger must not learn is not told apart here either: a key that is not known, and one whose
// service was stopped.
var afterRefusal = map[string]string{
	"enrol.token":        "the operator makes another one: `imsafe service invite`",
	"enrol.unknown-key":  "either nobody has asked with this key yet: give the --token that `imsafe service invite` prints; or the operator has stopped the service",
	"enrol.standing":     "ask the operator: `imsafe service show NAME`",
	"enrol.revoked":      "move the key file away and ask again with a new --token",
	"enrol.taken":        "take another name or host, or ask the operator who has it: `imsafe service list`",
	"enrol.domain":       "correct domain in the manifest",
	"enrol.no-authority": "the operator makes one: `imsafe ca new`",
	"enrol.limited":      "try again in a minute",
}

// post sends one request; the error is what the core says.
func (e *enrolee) post(client *http.Client, path string, in, out any) (int, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(e.app.ctx, http.MethodPost, "https://"+imsservice.EnrolmentHost(e.manifest.Domain)+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("the core cannot be reached at %s, or is not the one that was named: %w", e.verb.To, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if response.StatusCode >= 300 {
		var refusal imsservice.Refusal
		_ = json.Unmarshal(text, &refusal) // without a body the status still stands
		lines := append([]string{fmt.Sprintf("the core refuses (%d %s): %s", response.StatusCode, refusal.Code, refusal.Message)}, refusal.Problems...)
		return response.StatusCode, &management.Error{Code: refusal.Code, Message: strings.Join(lines, "\n  "), Hint: afterRefusal[refusal.Code]}
	}
	return response.StatusCode, json.Unmarshal(text, out)
}
