package as

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
)

// An Option of Open changes where things are.
type Option func(*remote)

// At is the address of the core's ISC door, HOST:PORT. Left out it is the environment's IMSAFE_CORE, else isc.<domain>:5061.
func At(address string) Option { return func(r *remote) { r.address = address } }

// Instance is the instance of the service whose key and certificate lie beside the manifest; left out it is "a".
func Instance(name string) Option { return func(r *remote) { r.instance = name } }

// Renewing renews the certificate at the core's door for enrolment, HOST:PORT, when two thirds of its life are over. Left out it is the
// environment's IMSAFE_ENROL; without either somebody else renews it (imsafe service renew --keep), and the files are read again.
func Renewing(address string) Option { return func(r *remote) { r.enrol = address } }

// Log is where the service logs; left out it is slog's default.
func Log(l *slog.Logger) Option { return func(r *remote) { r.log = l } }

// remote is the way of a service that is a program of its own to the core: one connection, with mutual TLS 1.3.
type remote struct {
	address, enrol, instance string
	log                      *slog.Logger
	clock                    shard.Clock
	manifest                 *isc.Manifest
	key, chain, root         string // files
	streams                  *siptransport.Streams
	state                    atomic.Pointer[tls.ConnectionState]
}

// Open makes a service of a manifest, NAME.service.toml, and what `imsafe service request` has written beside it: key, certificate and the
// core's root. It fails if one is missing, or does not belong to the others: a service that cannot prove itself does not start.
func Open(path string, options ...Option) (*Service, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	r := &remote{instance: "a", clock: shard.RealClock(), log: slog.Default(), address: os.Getenv("IMSAFE_CORE"), enrol: os.Getenv("IMSAFE_ENROL")}
	for _, o := range options {
		o(r)
	}
	s, err := InProcess(Parts{Manifest: text, Clock: r.clock, Rand: rand.Reader, Log: r.log, Proof: r.protections})
	if err != nil {
		return nil, err
	}
	s.remote, r.manifest = r, s.manifest
	base := strings.TrimSuffix(strings.TrimSuffix(path, ".toml"), ".service") + "." + r.instance
	r.key, r.chain, r.root = base+".key", base+".crt", filepath.Join(filepath.Dir(path), "core-ca.crt")
	if r.address == "" {
		r.address = net.JoinHostPort(r.coreName(), "5061")
	}
	if _, err := r.certificate(); err != nil {
		return nil, err
	}
	roots, err := r.roots()
	if err != nil {
		return nil, err
	}
	r.streams = siptransport.NewStreams(siptransport.Options{TLS: r.tls(roots), Idle: -1})
	return s, nil
}

// coreName is the name in the certificate of the core's ISC door.
func (r *remote) coreName() string { return "isc." + r.manifest.Domain }

func (r *remote) roots() (*x509.CertPool, error) {
	text, err := os.ReadFile(r.root)
	if err != nil {
		return nil, fmt.Errorf("as: the core's root: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("as: %s holds no certificate", r.root)
	}
	return pool, nil
}

// tls is TLS 1.3 alone, with the certificate as it is at that moment.
func (r *remote) tls(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: r.coreName(), SessionTicketsDisabled: true, Time: r.clock.Wall,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.certificate() }}
}

// certificate reads key and certificate and sees to it that they are what the core will ask for.
func (r *remote) certificate() (*tls.Certificate, error) {
	info, err := os.Stat(r.key)
	if err != nil {
		return nil, fmt.Errorf("as: no key: %w; `imsafe service request` makes one", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("as: %s may be read by others (%v): chmod 600", r.key, info.Mode().Perm())
	}
	pair, err := tls.LoadX509KeyPair(r.chain, r.key)
	if err != nil {
		return nil, fmt.Errorf("as: %w; `imsafe service request` without --token fetches the certificate", err)
	}
	leaf := pair.Leaf
	named := false
	for _, u := range leaf.URIs {
		instance, ok := r.manifest.Instance(u.String())
		named = named || ok && instance == r.instance
	}
	switch now := r.clock.Wall(); {
	case !named || leaf.VerifyHostname(r.manifest.Host()) != nil:
		return nil, fmt.Errorf("as: %s is not the certificate of %s", r.chain, r.manifest.Identity(r.instance))
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("as: %s ended at %s; `imsafe service renew` fetches another", r.chain, leaf.NotAfter)
	}
	if _, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok {
		return nil, fmt.Errorf("as: %s is no ECDSA key", r.key)
	}
	return &pair, nil
}

// protections words what holds on the connection.
func (r *remote) protections() []string {
	state := r.state.Load()
	if state == nil {
		return []string{"I-S: not connected"}
	}
	return []string{"I-S: mutual " + tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite) + ", core proven as " + r.coreName()}
}

// The times of a connection.
const (
	firstWait = time.Second      // before the second attempt; doubled each time
	longWait  = 60 * time.Second // at most (RFC 5626 4.5 has more, for clients that are many)
	pingEvery = 95 * time.Second // RFC 5626 4.4.1: 80 to 100 % of 120 s
	pongIn    = 10 * time.Second // RFC 5626 4.4.1
	farewell  = 4 * time.Minute  // an old connection stays open for as long as a call may ring (RFC 3261 16.6: timer C)
)

// run keeps a connection to the core until ctx ends, with a new one before the certificate of the old one ends.
func (r *remote) run(ctx context.Context, s *Service) {
	defer func() {
		over, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_ = r.streams.Close(over) // what is left is cut off
	}()
	wait := firstWait
	for ctx.Err() == nil {
		l := &line{svc: s, remote: r, opened: make(chan struct{}), closed: make(chan error, 1), pong: make(chan struct{}, 1)}
		began := r.clock.Now()
		err := l.hold(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // it is time for another certificate
			wait = firstWait
			continue
		}
		if r.clock.Now()-began > longWait {
			wait = firstWait
		}
		r.log.Warn("no connection to the core", "peer", r.address, "error", err)
		pause(ctx, wait+time.Duration(mathrand.Int64N(int64(wait)/2)))
		wait = min(2*wait, longWait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// line is one connection. Its methods of siptransport.Receiver run on the shard.
type line struct {
	svc    *Service
	remote *remote
	flow   siptransport.Flow
	opened chan struct{}
	closed chan error
	pong   chan struct{}
}

var _ siptransport.Receiver = (*line)(nil)

// Packet implements siptransport.Receiver.
func (l *line) Packet(f siptransport.Flow, data []byte) { l.svc.layer.Input(f, data) }

// Opened implements siptransport.Receiver.
func (l *line) Opened(f siptransport.Flow, state *tls.ConnectionState) {
	l.svc.flow = f
	l.remote.state.Store(state)
	l.svc.rights.forget()
	l.remote.log.Info("connected to the core", "peer", l.remote.address)
	close(l.opened)
}

// Closed implements siptransport.Receiver.
func (l *line) Closed(f siptransport.Flow, err error) {
	if l.svc.flow == f {
		l.svc.flow = siptransport.Flow{}
		l.remote.state.Store(nil)
	}
	l.svc.layer.FlowClosed(f)
	l.closed <- err
}

// Pong implements siptransport.Ponger.
func (l *line) Pong(siptransport.Flow) {
	select {
	case l.pong <- struct{}{}:
	default:
	}
}

// hold dials, and keeps the connection until it fails; nil if its certificate is about to end.
func (l *line) hold(ctx context.Context) error {
	pair, err := l.remote.certificate()
	if err != nil {
		return err
	}
	var d net.Dialer
	l.flow = l.remote.streams.DialBy(ctx, l.svc.shard, netip.AddrPort{}, l, func(ctx context.Context) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", l.remote.address)
	})
	conn, _ := l.flow.Via.(*siptransport.Conn)
	left := pair.Leaf.NotAfter.Sub(l.remote.clock.Wall())
	ends := time.NewTimer(left - left/10)
	defer ends.Stop()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case err := <-l.closed:
			if err == nil {
				err = siptransport.ErrClosed
			}
			return err
		case <-ctx.Done():
			conn.Close()
			return ctx.Err()
		case <-ends.C:
			l.svc.wg.Go(func() { pause(ctx, farewell); conn.Close() })
			return nil
		case <-ping.C:
			if !l.lives(ctx) {
				conn.Close()
				return errors.New("as: the core is silent")
			}
		}
	}
}

// lives asks the core for a sign of life (RFC 5626 4.4.1).
func (l *line) lives(ctx context.Context) bool {
	select {
	case <-l.pong:
	default:
	}
	if l.flow.Send([]byte("\r\n\r\n")) != nil {
		return false
	}
	t := time.NewTimer(pongIn)
	defer t.Stop()
	select {
	case <-l.pong:
		return true
	case <-t.C:
		return false
	case err := <-l.closed:
		l.closed <- err
		return false
	case <-ctx.Done():
		return true
	}
}
