package spine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// client is one user on a connection of his own. It is as cheap as can be: it reads of an answer what it needs.
type client struct {
	b      testing.TB
	name   string
	conn   net.Conn
	via    string // its transport
	scheme aka.DigestAlgorithm
	card   aka.Algorithm
	cseq   int
	in     [4096]byte
	out    []byte
	pool   *sip.Pool
	local  netip.AddrPort
	callID string
	sealed *sealed // inside security associations
}

func newClient(b testing.TB, s *server, user int) *client {
	conn, err := net.Dial("udp", s.address.String())
	if err != nil {
		b.Fatal(err)
	}
	return clientOn(b, conn, "UDP", conn.LocalAddr().(*net.UDPAddr).AddrPort(), user)
}

// newTLSClient makes a client whose answers come in a TLS record each: it never has two requests open.
func newTLSClient(b testing.TB, s *server, user int) *client {
	conn, err := tls.Dial("tcp", s.secured.String(), &tls.Config{RootCAs: s.trusted, ServerName: "pcscf." + domain})
	if err != nil {
		b.Fatal(err)
	}
	return clientOn(b, conn, "TLS", conn.LocalAddr().(*net.TCPAddr).AddrPort(), user)
}

func clientOn(b testing.TB, conn net.Conn, via string, local netip.AddrPort, user int) *client {
	b.Cleanup(func() { conn.Close() })
	k, op := key("k", user), key("op", user)
	return &client{b: b, name: fmt.Sprintf("u%05d", user), conn: conn, via: via, scheme: scheme(user), card: aka.NewMilenage(k, aka.DeriveOPc(k, op)),
		pool: sip.NewPool(sip.Limits{}), local: local, callID: fmt.Sprintf("c%d-%d", user, time.Now().UnixNano())}
}

// request writes a request as a handset would: the headers of TS 24.229, about 1.2 kB of them.
func (c *client) request(method, uri, to, extra, body string) {
	c.cseq++
	c.out = fmt.Appendf(c.out[:0], "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s.%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@%s>;tag=t%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n"+
		"Supported: path, sec-agree, gruu, timer\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, PRACK, UPDATE, REFER, NOTIFY, INFO\r\n"+
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01\r\nUser-Agent: bench/1.0\r\n%sContent-Length: %d\r\n\r\n%s",
		method, uri, c.via, c.local, c.name, c.cseq, c.name, domain, c.name, to, c.callID, c.cseq, method, extra, len(body), body)
	if _, err := c.conn.Write(c.out); err != nil {
		c.b.Error(err)
	}
}

// await reads until a final response to the request with the present number, and returns it.
func (c *client) await() []byte {
	const patience = 5 * time.Second
	again, late := patience, time.Now().Add(patience)
	if c.via == "UDP" {
		again = 500 * time.Millisecond // timer E (RFC 3261 17.1.2.2)
	}
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(again))
		n, err := c.conn.Read(c.in[:])
		if errors.Is(err, os.ErrDeadlineExceeded) && c.via == "UDP" && time.Now().Before(late) {
			again *= 2
			_, _ = c.conn.Write(c.out)
			continue
		}
		if err != nil {
			c.b.Errorf("%s: no answer: %v", c.name, err)
			return nil
		}
		if m := c.in[:n]; bytes.HasPrefix(m, []byte("SIP/2.0 ")) && m[8] >= '2' && bytes.Contains(m, []byte("\r\nCSeq: "+strconv.Itoa(c.cseq)+" ")) {
			return m
		}
	}
}

const contactFeatures = `+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel";+g.3gpp.smsip;audio;+sip.instance="<urn:gsma:imei:35622410-483840-0>"`

func (c *client) sendRegister(authorization string) []byte {
	aor := "sip:" + c.name + "@" + domain
	agreement := ""
	if c.sealed != nil {
		agreement = c.sealed.agreement(authorization != unanswered)
	}
	c.request("REGISTER", "sip:"+domain, "<"+aor+">", fmt.Sprintf("Contact: <sip:%s@%s>;expires=3600;%s\r\nAuthorization: Digest username=\"%s@%s\",realm=\"%s\",uri=\"sip:%s\",%s\r\n%s",
		c.name, c.local, contactFeatures, c.name, domain, domain, domain, authorization, agreement), "")
	return c.await()
}

// unanswered is the Authorization of a REGISTER without an answer to a challenge.
const unanswered = `nonce="",response=""`

// register is REGISTER, 401, REGISTER, 200.
func (c *client) register() bool {
	m, err := c.pool.Parse(c.sendRegister(unanswered))
	if err != nil || m.Status() != 401 {
		c.b.Errorf("%s: no challenge: %v", c.name, err)
		return false
	}
	defer m.Release()
	challenge, err := sip.ParseChallenge(m.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		c.b.Error(err)
		return false
	}
	nonce, err := aka.ParseNonce(challenge.Nonce)
	if err != nil {
		c.b.Error(err)
		return false
	}
	res, ck, ik, _ := c.card.F2345(nonce.RAND)
	if c.sealed != nil && !c.sealed.install(m, ck, ik) {
		return false
	}
	digest := aka.Digest{Algorithm: c.scheme, Username: []byte(c.name + "@" + domain), Realm: []byte(domain), Nonce: challenge.Nonce,
		URI: []byte("sip:" + domain), Method: []byte("REGISTER"), QOP: []byte("auth"), NC: []byte("00000001"), Cnonce: []byte("0a4f113b")}
	response := digest.AppendResponse(nil, c.scheme.AppendPassword(nil, &res, &ck, &ik))
	ok := c.sendRegister(fmt.Sprintf(`nonce="%s",algorithm=%s,qop=auth,nc=00000001,cnonce="0a4f113b",response="%s"`, challenge.Nonce, c.scheme, response))
	if !bytes.HasPrefix(ok, []byte("SIP/2.0 200")) {
		c.b.Errorf("%s: not registered: %.40s", c.name, ok)
		return false
	}
	return true
}

// refresh is REGISTER and 200 over the connection that the registration was proved on: nothing is asked again (TS 24.229 5.4.1.2.2).
func (c *client) refresh() bool {
	ok := c.sendRegister(unanswered)
	if !bytes.HasPrefix(ok, []byte("SIP/2.0 200")) {
		c.b.Errorf("%s: not refreshed: %.40s", c.name, ok)
		return false
	}
	return true
}
