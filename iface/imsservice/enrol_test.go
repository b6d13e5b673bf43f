package imsservice_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/refpoint/isc"
	"imsafe/secure"
)

// door is a door for enrolment on loopback, and a platform's client of it.
type door struct {
	*house
	*imsservice.Enrolment
	address string
	client  *http.Client
}

func newDoor(t *testing.T, h *house) *door {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{house: h, Enrolment: imsservice.NewEnrolment(h.Registry, slog.New(slog.DiscardHandler)), address: ln.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	d.client = d.as(h.root(), "")
	t.Cleanup(d.client.CloseIdleConnections)
	return d
}

// root is the pool with the core's root.
func (h *house) root() *x509.CertPool {
	h.t.Helper()
	text, err := h.authority.Root()
	if err != nil {
		h.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

// as is a client that trusts roots, or the root with a fingerprint.
func (d *door) as(roots *x509.CertPool, fingerprint string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, d.address)
		},
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: imsservice.VerifyCore("ims.example", roots, fingerprint, d.clock.Wall)},
	}}
}

// post sends one request and returns status and body.
func (d *door) post(path string, body any) (int, string) {
	d.t.Helper()
	text, isText := body.(string)
	if !isText {
		b, err := json.Marshal(body)
		if err != nil {
			d.t.Fatal(err)
		}
		text = string(b)
	}
	response, err := d.client.Post("https://enrol.ims.example"+path, "application/json", strings.NewReader(text))
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestEnrolment(t *testing.T) {
	d := newDoor(t, newHouse(t))
	p := d.platform(manifest, "a")
	token := d.invite()
	status, body := d.post("/v1/enrol", imsservice.Application{Token: token, Manifest: []byte(manifest), Request: p.csr})
	var applied imsservice.Applied
	if err := json.Unmarshal([]byte(body), &applied); err != nil || status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	pub, _ := x509.MarshalPKIXPublicKey(p.key.Public())
	if applied.Fingerprint != isc.FingerprintOf(pub).String() {
		t.Errorf("the core sees the key %s", applied.Fingerprint)
	}
	if status, _ := d.post("/v1/certificate", imsservice.Proof{Request: p.csr}); status != http.StatusAccepted {
		t.Errorf("before it is approved: %d", status)
	}
	if err := d.Approve(d.approval("echo", nil)); err != nil {
		t.Fatal(err)
	}
	status, body = d.post("/v1/certificate", imsservice.Proof{Request: p.csr})
	var issued imsservice.Issued
	if err := json.Unmarshal([]byte(body), &issued); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	chain, err := ca.ParseCertificates([]byte(issued.Chain))
	if err != nil || d.standing(chain[0]) != "" || !issued.RenewAt.Equal(d.clock.Wall().Add(16*time.Hour)) {
		t.Errorf("%v, stands %q, renewed at %s", err, d.standing(chain[0]), issued.RenewAt)
	}
	if err := d.Suspend("echo"); err != nil {
		t.Fatal(err)
	}
	if status, body := d.post("/v1/certificate", imsservice.Proof{Request: p.csr}); status != http.StatusForbidden {
		t.Errorf("while it is suspended: %d %s", status, body)
	}
}

// TestEnrolmentRenews renews with a new key over mutual TLS; who shows no certificate, or one that is nobody's, renews nothing.
func TestEnrolmentRenews(t *testing.T) {
	d := newDoor(t, newHouse(t))
	p := d.enrolled(manifest, "a")
	chain, err := d.Certificate(p.csr)
	if err != nil {
		t.Fatal(err)
	}
	shown := tls.Certificate{Certificate: [][]byte{chain[0].Raw, chain[1].Raw}, PrivateKey: p.key}
	plain := d.client
	mutual := d.as(d.root(), "")
	mutual.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{shown}
	t.Cleanup(mutual.CloseIdleConnections)
	p.newKey()
	renew := func(client *http.Client, path string) (int, string) {
		d.client = client
		return d.post(path, imsservice.Proof{Request: p.csr})
	}
	if status, _ := renew(plain, "/v1/renew"); status != http.StatusNotFound {
		t.Errorf("without a certificate: %d", status)
	}
	if status, _ := renew(plain, "/v1/certificate"); status != http.StatusForbidden {
		t.Errorf("a new key without a certificate: %d", status)
	}
	status, body := renew(mutual, "/v1/renew")
	var issued imsservice.Issued
	if err := json.Unmarshal([]byte(body), &issued); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	fresh, err := ca.ParseCertificates([]byte(issued.Chain))
	if err != nil || d.standing(fresh[0]) != "" || !p.key.PublicKey.Equal(fresh[0].PublicKey) {
		t.Errorf("%v, stands %q", err, d.standing(fresh[0]))
	}
	if err := d.Suspend("echo"); err != nil {
		t.Fatal(err)
	}
	if status, body := renew(mutual, "/v1/renew"); status != http.StatusForbidden || !strings.Contains(body, "enrol.standing") {
		t.Errorf("while it is suspended: %d %s", status, body)
	}
}

// TestEnrolmentAnswersAlike wants no difference between tokens that do not hold.
func TestEnrolmentAnswersAlike(t *testing.T) {
	d := newDoor(t, newHouse(t))
	p := d.platform(manifest, "a")
	used, late := d.invite(), d.invite()
	send := func(token, text string) string {
		status, body := d.post("/v1/enrol", imsservice.Application{Token: token, Manifest: []byte(text), Request: p.csr})
		return fmt.Sprint(status, body)
	}
	send(used, manifest)
	d.clock.move(2 * time.Hour)
	first := send("wrong", manifest)
	for name, got := range map[string]string{"used": send(used, manifest), "over": send(late, manifest), "none": send("", manifest), "with_a_bad_manifest": send("x", "][")} {
		if got != first {
			t.Errorf("%s: %s, wants %s", name, got, first)
		}
	}
	if !strings.HasPrefix(first, "403") {
		t.Error(first)
	}
	stranger := d.platform(manifest, "b")
	if status, _ := d.post("/v1/certificate", imsservice.Proof{Request: stranger.csr}); status != http.StatusForbidden {
		t.Errorf("a key that nobody knows: %d", status)
	}
}

func TestEnrolmentRefuses(t *testing.T) {
	d := newDoor(t, newHouse(t))
	p := d.platform(manifest, "a")
	good := func(text string) imsservice.Application {
		return imsservice.Application{Token: d.invite(), Manifest: []byte(text), Request: p.csr}
	}
	for name, c := range map[string]struct {
		path   string
		body   any
		status int
		says   string
	}{
		"no_json":              {"/v1/enrol", "token=1", http.StatusBadRequest, "enrol.form"},
		"too_large":            {"/v1/enrol", `{"token":"` + strings.Repeat("a", 40<<10) + `"}`, http.StatusRequestEntityTooLarge, "enrol.too-large"},
		"nested":               {"/v1/enrol", good("a = " + strings.Repeat("[", 9)), http.StatusRequestEntityTooLarge, "deep"},
		"mistakes":             {"/v1/enrol", good("manifest = 1\nfoo = 1"), http.StatusUnprocessableEntity, "foo: there is no such key"},
		"another_network":      {"/v1/enrol", good(strings.ReplaceAll(manifest, "ims.example", "ims2.example")), http.StatusUnprocessableEntity, "enrol.domain"},
		"names":                {"/v1/enrol", good(strings.ReplaceAll(manifest, "echo", "other")), http.StatusUnprocessableEntity, "enrol.names"},
		"nothing_there":        {"/v2/enrol", "{}", http.StatusNotFound, "enrol.unknown"},
		"no_certificate_asked": {"/v1/certificate", "{}", http.StatusUnprocessableEntity, "enrol.request"},
	} {
		if status, body := d.post(c.path, c.body); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s, wants %d with %q", name, status, body, c.status, c.says)
		}
	}
	request, _ := http.NewRequest(http.MethodPost, "https://enrol.ims.example/v1/enrol", strings.NewReader("{}"))
	request.Header.Set("Content-Type", "application/json")
	request.Host = "rebound.example"
	response, err := d.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", response.StatusCode)
	}
	for range 30 {
		if status, _ := d.post("/v1/enrol", "{}"); status == http.StatusTooManyRequests {
			if d.Counters.Limited.Load() == 0 {
				t.Error("not counted")
			}
			return
		}
	}
	t.Error("thirty requests at once are not limited")
}

// TestEnrolmentIsTheCore lets a platform find out whether it is the core that it enrols at.
func TestEnrolmentIsTheCore(t *testing.T) {
	d := newDoor(t, newHouse(t))
	text, _ := d.authority.Root()
	root, err := ca.ParseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newHouse(t)
	for name, c := range map[string]struct {
		client *http.Client
		ok     bool
	}{
		"by_its_root":             {d.as(d.root(), ""), true},
		"by_its_fingerprint":      {d.as(nil, isc.FingerprintOf(root[0].RawSubjectPublicKeyInfo).String()), true},
		"another_root":            {d.as(stranger.root(), ""), false},
		"another_fingerprint":     {d.as(nil, isc.Fingerprint{}.String()), false},
		"without_any_fingerprint": {d.as(nil, ""), false},
	} {
		response, err := c.client.Post("https://enrol.ims.example/v1/certificate", "application/json", bytes.NewReader(nil))
		if err == nil {
			response.Body.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		c.client.CloseIdleConnections()
	}
	old, err := tls.Dial("tcp", d.address, &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true})
	if err == nil {
		old.Close()
		t.Error("TLS 1.2 is accepted")
	}
}

// TestEnrolmentIsShared lets one source hold as many connections as it can: another one is served all the same.
func TestEnrolmentIsShared(t *testing.T) {
	d := newDoor(t, newHouse(t))
	dial := func(from string) net.Conn {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	var last net.Conn
	for range 100 { // more than there are in all
		last = dial("127.0.0.2")
	}
	_ = last.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := last.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the hundredth connection of a source: %v", err)
	}
	if status, _ := d.post("/v1/certificate", "{}"); status != http.StatusUnprocessableEntity {
		t.Errorf("another source: %d", status)
	}
	if n := d.Counters.Limited.Load(); n != 92 {
		t.Errorf("%d connections were refused", n)
	}
}

// TestEnrolmentBomb sends a body beyond the limit, with the control and without: only then is it read on.
func TestEnrolmentBomb(t *testing.T) {
	for _, off := range []bool{false, true} {
		h := newHouse(t)
		if off {
			h.gate = secure.NewGate([]secure.ControlID{secure.ISAvailabilityDocumentLimits}, nil)
			h.open()
		}
		d := newDoor(t, h)
		p := d.platform(manifest, "a")
		status, body := d.post("/v1/enrol", imsservice.Application{Token: d.invite(), Manifest: []byte(manifest + strings.Repeat("# \n", 100<<10)), Request: p.csr})
		if want := map[bool]int{false: http.StatusRequestEntityTooLarge, true: http.StatusAccepted}[off]; status != want {
			t.Errorf("control off %v: %d %s, wants %d", off, status, body, want)
		}
	}
}
