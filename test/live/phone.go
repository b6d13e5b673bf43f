package live

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Phone is a client that judges nothing and writes what the test says, octet by octet. It belongs to one goroutine.
type Phone struct {
	*User
	Conn  net.Conn
	Proto string                // sent-protocol of its Via: UDP, TCP or TLS
	Heard func(received []byte) // sees every message that comes; nil for nobody

	framer *sip.Framer
	pool   *sip.Pool
	buf    [65536]byte
	number int
	tag    string
	pongs  int // that came
}

// Errors of a Phone.
var (
	ErrSilence = errors.New("live: no answer in time")
	ErrClosed  = errors.New("live: the node closed the connection")
)

// Dial connects a phone of u over "udp", "tcp" or "tls". keylog gets the secrets of TLS, for a judge of captures; it may be nil.
func (n *Node) Dial(network string, u *User, keylog io.Writer) (*Phone, error) {
	var conn net.Conn
	var err error
	switch network {
	case "tls":
		conn, err = tls.Dial("tcp", n.TLS.String(), &tls.Config{RootCAs: n.CA, ServerName: "pcscf." + Domain, KeyLogWriter: keylog})
	default:
		conn, err = net.Dial(network, n.Lab.String())
	}
	if err != nil {
		return nil, err
	}
	return NewPhone(conn, network, u), nil
}

// NewPhone makes a phone of u that talks over conn, whose network is "udp", "tcp" or "tls": to whatever P-CSCF is at its end.
func NewPhone(conn net.Conn, network string, u *User) *Phone {
	p := &Phone{User: u, Conn: conn, Proto: strings.ToUpper(network), pool: sip.NewPool(sip.Limits{}), tag: rand.Text()[:8]}
	p.framer = p.pool.NewFramer()
	return p
}

// Close ends the connection.
func (p *Phone) Close() { _ = p.Conn.Close() }

// Write sends octets as they are.
func (p *Phone) Write(octets string) error {
	_, err := io.WriteString(p.Conn, octets)
	return err
}

// Read returns the next message, ErrSilence after the wait, or ErrClosed.
func (p *Phone) Read(wait time.Duration) (*sip.Message, error) {
	if err := p.Conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	for {
		raw, err := p.receive()
		if err != nil {
			return nil, err
		}
		if raw == nil {
			continue
		}
		if p.Heard != nil {
			p.Heard(raw)
		}
		return p.pool.Parse(raw)
	}
}

// receive returns a message, or nil after something else.
func (p *Phone) receive() ([]byte, error) {
	if p.Proto != "UDP" {
		raw, err := p.framer.Next()
		switch {
		case errors.Is(err, sip.ErrPong):
			p.pongs++
			return nil, nil
		case raw != nil || err != nil:
			return raw, err
		}
	}
	n, err := p.Conn.Read(p.buf[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, ErrSilence
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	case p.Proto == "UDP":
		return p.buf[:n], nil
	}
	_, err = p.framer.Write(p.buf[:n])
	return nil, err
}

// Ping sends a keep-alive over a stream and waits for the answer, dropping what else comes (RFC 5626 4.4.1): by then the node has
// read all that was sent before. The errors are those of Read.
func (p *Phone) Ping(wait time.Duration) error {
	if err := errors.Join(p.Write("\r\n\r\n"), p.Conn.SetReadDeadline(time.Now().Add(wait))); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	for had := p.pongs; p.pongs == had; {
		if _, err := p.receive(); err != nil {
			return err
		}
	}
	return nil
}

// Request builds a request with a new branch and Call-ID; lines are further header lines without their end, body may be "".
func (p *Phone) Request(method, uri, to string, body string, lines ...string) string {
	p.number++
	head := []string{
		method + " " + uri + " SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%s;rport", p.Proto, p.Conn.LocalAddr(), rand.Text()),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <%s>;tag=%s", p.IMPU, p.tag),
		fmt.Sprintf("To: <%s>", to),
		"Call-ID: " + rand.Text(),
		fmt.Sprintf("CSeq: %d %s", p.number, method),
	}
	head = append(head, lines...)
	return strings.Join(head, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// Contact is where the phone is reached.
func (p *Phone) Contact() string {
	return fmt.Sprintf("<sip:%s@%s;transport=%s>", p.Name, p.Conn.LocalAddr(), strings.ToLower(p.Proto))
}

// Errors of Register. Neither says that the node does anything wrong.
var (
	ErrBusy  = errors.New("live: 503") // the node has more to do than it can, and asks to come again
	ErrAgain = errors.New("live: challenged again")
)

// Register registers for some minutes (expires in seconds; 0 takes the registration back). Over UDP it sends again what got lost.
func (p *Phone) Register(ctx context.Context, expires int) error {
	authorization := fmt.Sprintf(`Digest username="%s",realm="%s",nonce="",uri="sip:%s",response=""`, p.IMPI, Domain, Domain)
	for range 2 {
		answer, err := p.Ask(ctx, p.Request("REGISTER", "sip:"+Domain, p.IMPU, "", fmt.Sprintf("Contact: %s;+sip.instance=\"<%s>\";expires=%d", p.Contact(), p.Instance, expires),
			"Supported: path", "Authorization: "+authorization))
		if err != nil {
			return err
		}
		switch {
		case answer.Status() == 200:
			return nil
		case answer.Status() == 503:
			return fmt.Errorf("%w to REGISTER of %s", ErrBusy, p.Name)
		case answer.Status() != 401:
			return fmt.Errorf("live: REGISTER of %s was answered %d", p.Name, answer.Status())
		}
		if authorization, err = p.Authorize(answer); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: REGISTER of %s", ErrAgain, p.Name)
}

// Ask sends a request until its final response comes, which is returned; other messages are dropped.
func (p *Phone) Ask(ctx context.Context, request string) (*sip.Message, error) {
	asked, err := p.pool.Parse([]byte(request))
	if err != nil {
		return nil, err
	}
	for again := 500 * time.Millisecond; ctx.Err() == nil; again = min(2*again, 4*time.Second) {
		if err := p.Write(request); err != nil {
			return nil, err
		}
		for until := time.Now().Add(again); ; {
			m, err := p.Read(time.Until(until))
			if errors.Is(err, ErrSilence) && ctx.Err() == nil {
				if p.Proto == "UDP" {
					break
				}
				until = time.Now().Add(again)
				continue
			}
			if err != nil {
				return nil, err
			}
			if !m.IsRequest() && m.Status() >= 200 && string(m.Get(sip.HdrCSeq)) == string(asked.Get(sip.HdrCSeq)) {
				return m, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrSilence, ctx.Err())
}

// Answer answers a request that came, with more header lines.
func (p *Phone) Answer(request *sip.Message, status int, lines ...string) error {
	return p.Write(p.Response(request, status, lines...))
}

// Response is the answer to a request that came, with more header lines.
func (p *Phone) Response(request *sip.Message, status int, lines ...string) string {
	m := p.pool.NewResponse(request, status, "")
	defer m.Release()
	m.SetToTag(p.tag)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		m.AppendName(name, []byte(value))
	}
	return string(m.AppendTo(nil))
}

// Authorize computes the Authorization that answers a challenge, as a card that accepts every sequence number, or with the password.
func (p *Phone) Authorize(challenge *sip.Message) (string, error) {
	c, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return "", err
	}
	algorithm, known := aka.ParseDigestAlgorithm(c.Algorithm)
	if !known || algorithm.AKA() != (p.Password == "") {
		return "", fmt.Errorf("live: digest algorithm %q", c.Algorithm)
	}
	password := []byte(p.Password)
	if algorithm.AKA() {
		if password, err = p.answer(c.Nonce, algorithm); err != nil {
			return "", err
		}
	}
	d := aka.Digest{Algorithm: algorithm, Username: []byte(p.IMPI), Realm: c.Realm, Nonce: c.Nonce, URI: []byte("sip:" + Domain),
		Method: []byte("REGISTER"), QOP: []byte("auth"), NC: []byte("00000001"), Cnonce: []byte("0a4f113b")}
	response := d.AppendResponse(nil, password)
	return fmt.Sprintf(`Digest username="%s",realm="%s",nonce="%s",uri="%s",response="%s",algorithm=%s,qop=auth,nc=%s,cnonce="%s"`,
		p.IMPI, c.Realm, c.Nonce, d.URI, response, c.Algorithm, d.NC, d.Cnonce), nil
}

// answer is what the card makes of a challenge: the password of one digest (RFC 3310 3.3, RFC 4169).
func (p *Phone) answer(challenge []byte, algorithm aka.DigestAlgorithm) ([]byte, error) {
	nonce, err := aka.ParseNonce(challenge)
	if err != nil {
		return nil, err
	}
	if _, err := aka.Open(p.Card, nonce.RAND, nonce.AUTN); err != nil {
		return nil, fmt.Errorf("live: the network is not genuine: %w", err)
	}
	res, ck, ik, _ := p.Card.F2345(nonce.RAND)
	return algorithm.AppendPassword(nil, &res, &ck, &ik), nil
}
