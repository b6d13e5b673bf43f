package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"

	"imsafe/client/ue"
	"imsafe/iface/clientweb"
)

// Anchors are what clients of an operated node trust: the root of its network.
func (e *Operator) Anchors() *x509.CertPool {
	e.t.Helper()
	text, err := e.Node.Anchors()
	if err != nil {
		e.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		e.t.Fatal("live: no root")
	}
	return pool
}

// Origin is where clients fetch.
func (e *Operator) Origin() string {
	_, port, _ := net.SplitHostPort(e.HTTPS.String())
	return "https://" + clientweb.Host(Domain) + ":" + port
}

// Web is how clients get there: to whatever host they want, at the node's address.
func (e *Operator) Web() *http.Transport {
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.Anchors(), MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, e.HTTPS.String())
		}}
	e.t.Cleanup(t.CloseIdleConnections)
	return t
}

// Vouching lets a client check whom the network vouches for.
func (e *Operator) Vouching(required bool) *ue.Vouching {
	return &ue.Vouching{Roots: e.Anchors(), Fetch: ue.Fetch(e.Web()), Required: required}
}
