package live_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/node"
	"imsafe/secure"
	"imsafe/test/live"
)

// connect is a platform's connection to the I-S door.
func (e *enrolling) connect(own *tls.Certificate, root *x509.CertPool) (*tls.Conn, error) {
	c := &tls.Config{RootCAs: root, ServerName: node.ISCHost(live.Domain), MinVersion: tls.VersionTLS13}
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	conn, err := tls.Dial("tcp", e.ISC.String(), c)
	if err != nil {
		return nil, err
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	// TLS 1.3: the server judges the certificate after the client thinks that all is well.
	_ = conn.SetReadDeadline(time.Now().Add(live.Patience))
	if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
		return nil, err
	}
	b := make([]byte, 2)
	if _, err := conn.Read(b); err != nil {
		return nil, err
	}
	return conn, conn.SetReadDeadline(time.Now().Add(live.Patience))
}

// request reads one SIP request without a body.
func request(t *testing.T, r *bufio.Reader) (text string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" && text != "" {
			return text
		}
		if line != "\r\n" {
			text += line
		}
	}
}

// answer is a response to a request: the fields that go back, and those that are added.
func answer(request, status string, more ...string) string {
	out := "SIP/2.0 " + status + "\r\n"
	for _, line := range strings.SplitAfter(request, "\r\n") {
		for _, name := range []string{"Via:", "From:", "To:", "Call-ID:", "CSeq:", "Record-Route:"} {
			if strings.HasPrefix(line, name) {
				if name == "To:" && !strings.Contains(line, ";tag=") {
					line = strings.TrimSuffix(line, "\r\n") + ";tag=platform\r\n"
				}
				out += line
			}
		}
	}
	return out + strings.Join(append(more, "Content-Length: 0"), "\r\n") + "\r\n\r\n"
}

// TestServicePlatform: an approved platform connects and is asked for its users' sessions; a stranger is not heard; suspension is felt within
// a second, on the connection that stands.
func TestServicePlatform(t *testing.T) {
	e := startEnrolling(t, func(c *config.Config) { c.IS.Listen = config.Address{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")} })
	own, root := e.Enrol(strings.ReplaceAll(screening, `["session.proxy"]`, `["session.answer", "message.receive"]`))
	if _, err := e.connect(nil, root); err == nil {
		t.Error("a stranger is heard")
	}
	if refused, _ := e.Gate.Counts(secure.ISAuthenticationMTLS); refused != 1 {
		t.Errorf("%d refusals by is.authentication.mtls", refused)
	}
	conn, err := e.connect(&own, root)
	if err != nil {
		t.Fatal(err)
	}
	alice, err := e.UE(e.Users[0], ue.IPsecUDP, nil)
	if err == nil {
		_, err = alice.Register(e.Context)
	}
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		said <- alice.SendMessage(e.Context, "sip:screening@"+live.Domain, "text/plain", []byte("hello"))
	}()
	in := bufio.NewReader(conn)
	m := request(t, in)
	if !strings.HasPrefix(m, "MESSAGE sip:screening@") || strings.Contains(m, "P-Access-Network-Info") || strings.Contains(m, "P-Charging-Vector") {
		t.Errorf("the platform sees %s", m)
	}
	fmt.Fprint(conn, answer(m, "200 OK"))
	if err := <-said; err != nil {
		t.Errorf("alice: %v", err)
	}
	e.Call("service.suspend", node.SuspendService{Name: "screening"}, nil)
	buf := make([]byte, 1)
	_ = conn.SetReadDeadline(time.Now().Add(live.Patience))
	for err = nil; err == nil; _, err = conn.Read(buf) {
	}
	if strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection did not end: %v", err)
	}
	if _, err := e.connect(&own, root); err == nil {
		t.Error("a suspended platform is heard")
	}
	if err := alice.SendMessage(e.Context, "sip:screening@"+live.Domain, "text/plain", []byte("hello")); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("alice: %v", err)
	}
}
