package siptransport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/proto/shard"
)

// streamServer is a listener under test.
type streamServer struct {
	*recorder
	addr netip.AddrPort
	n    *Counters
	sh   *shard.Shard
	stop func()
}

// listen serves TCP on loopback for the length of a test.
func listen(t testing.TB, o Options) *streamServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveStreams(t, testShard(t, 0, 0), ln, o)
}

func serveStreams(t testing.TB, sh *shard.Shard, ln net.Listener, o Options) *streamServer {
	t.Helper()
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	s := &streamServer{recorder: newRecorder(), addr: addrPort(ln.Addr()), n: o.Counters, sh: sh}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ServeListener(ctx, []*shard.Shard{s.sh}, ln, func(*shard.Shard) Receiver { return s.recorder }, o)
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ServeListener: %v", err)
		}
		if n := o.Counters.Conns.Load(); n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func dial(t testing.TB, addr netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// message is a short whole message.
func message(body string) string {
	return fmt.Sprintf("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKa\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// wantClosed waits until the peer has closed c.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("still open: %v", err)
	}
}

// certificate makes a TLS configuration for both ends of a test.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"proxy.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13},
		&tls.Config{RootCAs: pool, ServerName: "proxy.example", MinVersion: tls.VersionTLS13}
}

// streamKinds are the ways octets may reach a Streams.
func streamKinds(t *testing.T) map[string]func(o Options) (*streamServer, func() net.Conn) {
	serverTLS, clientTLS := certificate(t)
	return map[string]func(o Options) (*streamServer, func() net.Conn){
		"TCP": func(o Options) (*streamServer, func() net.Conn) {
			s := listen(t, o)
			return s, func() net.Conn { return dial(t, s.addr) }
		},
		"TLS": func(o Options) (*streamServer, func() net.Conn) {
			o.TLS = serverTLS
			s := listen(t, o)
			return s, func() net.Conn { return tls.Client(dial(t, s.addr), clientTLS) }
		},
		"TCP, tried": func(o Options) (*streamServer, func() net.Conn) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s := serveStreams(t, testShard(t, 0, 0), triedListener{ln}, o)
			return s, func() net.Conn { return dial(t, s.addr) }
		},
		"any conn": func(o Options) (*streamServer, func() net.Conn) {
			s, ln := listenPipe(t, o)
			return s, ln.dial
		},
		"TLS on any conn": func(o Options) (*streamServer, func() net.Conn) {
			o.TLS = serverTLS
			s, ln := listenPipe(t, o)
			return s, func() net.Conn { return tls.Client(ln.dial(), clientTLS) }
		},
	}
}

// triedListener accepts connections that are no sockets to look at, and can be tried; at times they take nothing, and never much.
type triedListener struct{ net.Listener }

func (l triedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &tried{Conn: c}, err
}

type tried struct {
	net.Conn
	n int
}

func (c *tried) TryWrite(p []byte) (int, error) {
	c.n++
	return c.Conn.Write(p[:min(len(p), 700*(c.n%3))])
}

// pipeListener accepts in-memory connections, as a userspace TCP would give them.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func listenPipe(t testing.TB, o Options) (*streamServer, *pipeListener) {
	ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	ln.close = sync.OnceFunc(func() { close(ln.closed) })
	return serveStreams(t, testShard(t, 0, 0), ln, o), ln
}

func (l *pipeListener) dial() net.Conn {
	a, b := net.Pipe()
	l.conns <- a
	_ = b.SetDeadline(time.Now().Add(patience))
	return b
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.close(); return nil }

func (l *pipeListener) Addr() net.Addr { return nil }
