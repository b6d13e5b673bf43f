package live

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/imsservice"
	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/refpoint/isc"
)

// Operator is a running node with a door for enrolment, and who operates it: approves service platforms with a key that the node has not.
type Operator struct {
	*Node
	Context  context.Context // with an end, for whoever waits for nothing
	approver ed25519.PrivateKey
	client   *management.Client
}

// StartOperated starts a node with an authority and a door for enrolment; more changes its configuration.
func StartOperated(t testing.TB, subscribers int, configure ...func(*config.Config)) *Operator {
	t.Helper()
	return Operate(t, Options{Subscribers: subscribers}, configure...)
}

// Operate is StartOperated with other options.
func Operate(t testing.TB, o Options, configure ...func(*config.Config)) *Operator {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o.Configure = func(c *config.Config) {
		c.IS.ApprovalKeys = []string{config.FormatApprovalKey(public)}
		c.IS.Enrol.Listen = config.Address{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}
		for _, more := range configure {
			more(c)
		}
	}
	n := Start(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), 3*Patience)
	t.Cleanup(cancel)
	e := &Operator{Node: n, Context: ctx, approver: private, client: management.NewClient(filepath.Join(n.Dir, "..", "management"))}
	t.Cleanup(e.client.Close)
	root, err := ca.NewRoot(rand.Reader, time.Now, Domain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var request node.AuthorityText
	e.Call("ca.request", node.None{}, &request)
	signed, err := root.Sign([]byte(request.PEM), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	e.Call("ca.install", node.AuthorityText{PEM: string(signed)}, nil)
	return e
}

// Call calls a verb of the node.
func (e *Operator) Call(verb string, in, out any) {
	e.t.Helper()
	if err := e.client.Call(e.Context, verb, in, out); err != nil {
		e.t.Fatalf("%s: %v", verb, err)
	}
}

// Post sends one request to the door for enrolment and wants a status.
func (e *Operator) Post(at, fingerprint, path string, status int, in, out any) {
	e.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at)
		},
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
			VerifyConnection: imsservice.VerifyCore(Domain, nil, fingerprint, time.Now)}}}
	body, _ := json.Marshal(in)
	response, err := client.Post("https://"+imsservice.EnrolmentHost(Domain)+path, "application/json", bytes.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		e.t.Fatalf("%s: %s, want %d", path, response.Status, status)
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		e.t.Fatal(err)
	}
}

// Approve signs the approval of a service that waits, with all that its manifest asks for.
func (e *Operator) Approve(m *isc.Manifest, text, told string, changed *node.ServiceChanged) {
	e.t.Helper()
	a := &isc.Approval{Service: m.Service, Manifest: sha256.Sum256([]byte(text)), Granted: m.Asked, Approver: "operator", Time: time.Now().UTC().Truncate(time.Second), Serial: 1}
	var waits imsservice.Entry
	e.Call("service.show", node.Named{Name: m.Service}, &waits)
	copy(a.Key[:], waits.Pending.Key)
	if !a.Key.Matches(told) {
		e.t.Fatalf("the platform was told %s, the operator %s", told, a.Key)
	}
	if err := a.Sign(e.approver); err != nil {
		e.t.Fatal(err)
	}
	e.Call("service.approve", node.ApproveService{Approval: string(a.Marshal())}, changed)
}

// Enrol asks in the name of the service of a manifest, approves it, and returns its key with the certificate that it was given, and the core's root.
func (e *Operator) Enrol(manifest string) (tls.Certificate, *x509.CertPool) {
	e.t.Helper()
	own, text := e.enrol(manifest)
	root := x509.NewCertPool()
	if !root.AppendCertsFromPEM([]byte(text)) {
		e.t.Fatal("no root")
	}
	return own, root
}

func (e *Operator) enrol(manifest string) (own tls.Certificate, root string) {
	e.t.Helper()
	var invited node.Invited
	e.Call("service.invite", node.InviteService{Seconds: 60}, &invited)
	m, err := isc.Parse([]byte(manifest))
	if err != nil {
		e.t.Fatal(err)
	}
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		e.t.Fatal(err)
	}
	csr, err := ca.NewRequest(rand.Reader, key, m.Identity("a"), m.Host())
	if err != nil {
		e.t.Fatal(err)
	}
	var applied imsservice.Applied
	e.Post(invited.Listen, invited.CA, "/v1/enrol", http.StatusAccepted, imsservice.Application{Token: invited.Token, Manifest: []byte(manifest), Request: csr}, &applied)
	var changed node.ServiceChanged
	e.Approve(m, manifest, applied.Fingerprint, &changed)
	var issued imsservice.Issued
	e.Post(invited.Listen, invited.CA, "/v1/certificate", http.StatusOK, imsservice.Proof{Request: csr}, &issued)
	chain, err := ca.ParseCertificates([]byte(issued.Chain))
	if err != nil {
		e.t.Fatal(err)
	}
	own = tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	return own, issued.Root
}

// EnrolInto is Enrol for a program: it writes what `imsafe service request` would leave beside the manifest, in dir, and returns the
// manifest's path.
func (e *Operator) EnrolInto(dir, manifest string) string {
	e.t.Helper()
	own, root := e.enrol(manifest)
	m, err := isc.Parse([]byte(manifest))
	if err != nil {
		e.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		e.t.Fatal(err)
	}
	var chain []byte
	for _, c := range own.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	path := filepath.Join(dir, m.Service+".service.toml")
	for name, text := range map[string][]byte{path: []byte(manifest), filepath.Join(dir, "core-ca.crt"): []byte(root),
		filepath.Join(dir, m.Service+".a.crt"): chain, filepath.Join(dir, m.Service+".a.key"): pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
	return path
}
