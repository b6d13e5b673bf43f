package attack

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"imsafe/secure"
)

// profileBomb: a provider with an invitation writes a manifest that costs more to read than to write.
func profileBomb() Attack {
	return Attack{
		ID: "is.profile.bomb", Number: "IS-11", Title: "a manifest that costs its readers more than its writer",
		Text:     "each of its triggers is read, kept, compiled into the filter criteria of every user of a group, and shown to whoever approves it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesManagement,
		Source: "CWE-400; CWE-1333", Access: []Access{Enrol},
		Bounds: Bounds{Packets: 400, Bytes: 6_000_000, Conns: 10, Time: 3 * time.Second},
		Variants: []Variant{{Position: EnrolledPlatform, Run: sendLargeManifests,
			Controls: []secure.ControlID{secure.ISAvailabilityDocumentLimits}}},
	}
}

// sendLargeManifests asks with documents of so many triggers: few more than a person would read, up to as many as fit into a record.
func sendLargeManifests(ctx context.Context, f *Field, o *Outcome) error {
	client := f.provider()
	defer client.CloseIdleConnections()
	key, err := ecdsa.GenerateKey(elliptic.P256(), f.Random)
	if err != nil {
		return err
	}
	taken, last, octets := 0, "", 0
	for i, triggers := range []int{60, 1, 1000, 3000, 6000} {
		if i >= len(f.Tokens) {
			return fmt.Errorf("the target gave %d invitations", len(f.Tokens))
		}
		name := fmt.Sprintf("bomb%d", i)
		manifest := f.manifest(name, triggers)
		if triggers == 1 { // one that is long without them
			manifest = append(manifest, strings.Repeat("# "+strings.Repeat("x", 61)+"\n", 280)...)
		}
		u := &url.URL{Scheme: "spiffe", Host: f.Domain, Path: "/as/mallory/" + name + "/a"}
		csr, err := x509.CreateCertificateRequest(f.Random, &x509.CertificateRequest{URIs: []*url.URL{u}, DNSNames: []string{name + ".as." + f.Domain}}, key)
		if err != nil {
			return err
		}
		status, err := f.enrol(ctx, client, f.Tokens[i], manifest, csr)
		if err != nil {
			return err
		}
		last = fmt.Sprintf("%d triggers: %d", triggers, status)
		if status == http.StatusAccepted {
			taken, octets = taken+1, octets+len(manifest)
		}
	}
	o.Arrived("5 manifests, the last of %s", last)
	o.Users = min(taken, 1)
	o.Wire(taken > 0, "%d of 5 manifests, of %d octets, are read and kept; the last, %s", taken, octets, last)
	return nil
}

// manifest is right in all but its length.
func (f *Field) manifest(name string, triggers int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "manifest = 1\nservice = %q\nprovider = \"mallory\"\ndomain = %q\nendpoint = \"sips:%s.as.%s\"\nscopes = [\"session.answer\"]\n"+
		"users = { groups = [\"default\"] }\nlimits = { cps = 1, sessions = 1 }\nexpires = 2099-12-31\n", name, f.Domain, name, f.Domain)
	for i := range triggers {
		fmt.Fprintf(&b, "[[trigger]]\ncase = \"originating\"\nmethods = [\"INVITE\"]\npriority = %d\nuri = \"(a|b)*%d\"\n", i, i)
	}
	return []byte(b.String())
}

// provider is an HTTPS client of the attacker's, at the door for enrolment.
func (f *Field) provider() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return f.attacker.Dial(ctx, "tcp", netip.Addr{}, f.Site.Enrol)
		},
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.EnrolRoots, Time: f.Clock.Wall},
	}}
}

// enrol sends one application and returns the status of the answer.
func (f *Field) enrol(ctx context.Context, client *http.Client, token string, manifest, csr []byte) (int, error) {
	body, err := json.Marshal(map[string]any{"token": token, "manifest": manifest, "request": csr})
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, (&url.URL{Scheme: "https", Host: "enrol." + f.Domain, Path: "/v1/enrol"}).String(), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, err
}
