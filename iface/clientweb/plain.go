package clientweb

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"

	"imsafe/secure"
)

// handshakeRecord is the first octet of everything that TLS begins with (RFC 8446 5.1).
const handshakeRecord = 22

// exposed reports whether a connection may go on that is without TLS, or under one below 1.3: nobody's, but in a lab. It is the enforcement point of what
// TLS does for what clients fetch: nobody reads it, nobody changes it.
func (d *Door) exposed(peer net.Addr, reason string) bool {
	e := secure.Event{Reason: reason}
	if at, err := netip.ParseAddrPort(peer.String()); err == nil {
		e.Source = at.Addr()
	}
	return !d.ports.Gate.Refuse(secure.CSConfidentialityHTTPS, e) && !d.ports.Gate.Refuse(secure.CSIntegrityHTTPS, e)
}

// floor makes c the least that is agreed on (TS 33.310 6.2a). Whoever offers nothing as good is refused by the gate: only a lab goes on with him.
func (d *Door) floor(c *tls.Config) *tls.Config {
	weak := c.Clone()
	weak.MinVersion = tls.VersionTLS10
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedVersions, c.MinVersion) || !d.exposed(hello.Conn.RemoteAddr(), "below-floor") {
			return nil, nil // c, by which the handshake goes well or ends with the alert that says why
		}
		return weak, nil
	}
	return c
}

// errClear ends a connection that begins without TLS.
var errClear = errors.New("clientweb: a connection without TLS")

// tlsFirst accepts connections that look at their first octet.
type tlsFirst struct {
	net.Listener
	door   *Door
	config *tls.Config
}

// Accept implements net.Listener. It does not wait for the first octet.
func (l *tlsFirst) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &firstOctet{Conn: c, l: l}, nil
}

// firstOctet is a connection whose first octet says what it is to be. Deadlines are those of the socket. Reading and writing are each for one goroutine
// at a time, as of any connection of the server.
type firstOctet struct {
	net.Conn
	l *tlsFirst

	mu sync.Mutex
	is net.Conn // TLS, or in a lab the socket with its first octet again; nil before that has come
}

// Read implements net.Conn.
func (c *firstOctet) Read(b []byte) (int, error) {
	is, err := c.settled()
	if err != nil {
		return 0, err
	}
	return is.Read(b)
}

// settled reads the first octet, if it has not been read.
func (c *firstOctet) settled() (net.Conn, error) {
	if is := c.known(); is != nil {
		return is, nil
	}
	again := &unread{Conn: c.Conn, first: make([]byte, 1)}
	if _, err := io.ReadFull(c.Conn, again.first); err != nil {
		return nil, err
	}
	is := net.Conn(again)
	switch {
	case again.first[0] == handshakeRecord:
		is = tls.Server(again, c.l.config)
	case !c.l.door.exposed(c.RemoteAddr(), "clear"):
		return nil, errClear
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.is = is
	return is, nil
}

func (c *firstOctet) known() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.is
}

// Write implements net.Conn. Before anything has come there is nobody to answer.
func (c *firstOctet) Write(b []byte) (int, error) {
	is := c.known()
	if is == nil {
		return 0, errClear
	}
	return is.Write(b)
}

// Close implements net.Conn.
func (c *firstOctet) Close() error {
	if is := c.known(); is != nil {
		return is.Close()
	}
	return c.Conn.Close()
}

// unread is a socket whose first octets are read once more.
type unread struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (u *unread) Read(b []byte) (int, error) {
	if len(u.first) == 0 {
		return u.Conn.Read(b)
	}
	n := copy(b, u.first)
	u.first = u.first[n:]
	return n, nil
}
