package rtpport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"

	"imsafe/proto/sdp"
)

// Bounds of the handshake.
const (
	maxParallel = 16   // handshakes of a server at the same moment
	maxAttempts = 4096 // handshakes of one leg in all: what is above is a flood
	// perHandshake: a client begins again with a new hello after that part of the time it has. Somebody who forged hellos in its
	// name has made the server send cookies to it, and it may have believed one of those.
	perHandshake = 3
	pause        = 250 * time.Millisecond
)

// attempts are the handshakes of one leg. A server may have several: somebody who forges the peer's address can send a
// ClientHello before the true one (asterisk's CVE-2023-49786 and its kin), and a server that holds on to the first hello
// never hears the second. So each client random gets its own handshake, which costs nothing before its cookie has come back,
// and the oldest one without a cookie makes room. Which one was the true one the fingerprint decides.
type attempts struct {
	mu     sync.Mutex
	open   bool       // the leg was started and no attempt has won
	list   []*attempt // oldest first
	begun  int
	winner *attempt
	conn   *dtls.Conn // of the winner
	ended  chan result
	wg     sync.WaitGroup
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // of the whole handshake; attempts come from the reader
}

type attempt struct {
	said   clientHello // the latest of the peer, but for pieces that came after it
	proven bool        // its cookie came back, or it is our own hello: the peer is at its address
	pipe   *pipe
	cancel context.CancelFunc
}

type result struct {
	a    *attempt
	conn *dtls.Conn
	err  error
}

// handshake runs until one attempt ends with the right certificate, then makes the keys and keeps that connection
// for the close_notify to come.
func (l *Leg) handshake(ctx context.Context) error {
	d := &l.dtls
	actx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	d.open, d.ended, d.ctx, d.cancel = true, make(chan result, maxParallel), actx, cancel
	d.mu.Unlock()
	if l.state.is(closed) { // before there was something to cancel
		cancel()
	}
	kept := l.listen()

	var won result
	var err error
	if l.agreed.Role == sdp.DTLSClient {
		won, err = l.asClient(actx)
	} else {
		won, err = l.asServer(actx, kept)
	}
	d.finish(won.a)
	cancel()
	d.wg.Wait()
	if err != nil {
		return err
	}
	if err := l.key(won.conn); err != nil {
		won.a.pipe.Close()
		return err
	}
	d.mu.Lock()
	d.conn = won.conn
	d.mu.Unlock()
	d.wg.Go(func() { l.drain(won.conn) })
	if l.state.is(closed) {
		_ = won.conn.Close() // Close came before conn was known to it
	}
	return nil
}

// asClient says hello again with a fresh random when an attempt leads to nothing.
func (l *Leg) asClient(ctx context.Context) (result, error) {
	var last error
	if l.state.is(byICE) { // nothing goes to an address that has shown nothing
		select {
		case <-l.ice.shown:
		case <-ctx.Done():
			return result{}, handshakeError(last)
		}
	}
	for {
		l.dtls.mu.Lock()
		a := l.dtls.begin(l, clientHello{}, true, l.cfg.Handshake/perHandshake)
		l.dtls.mu.Unlock()
		if a == nil {
			return result{}, handshakeError(last)
		}
		var r result
		select {
		case r = <-l.dtls.ended:
		case <-ctx.Done():
			return result{}, handshakeError(last)
		}
		if r.err == nil || errors.Is(r.err, ErrFingerprint) {
			return r, r.err
		}
		last = r.err
		l.dtls.remove(a)
		select {
		case <-ctx.Done():
			return result{}, handshakeError(last)
		case <-time.After(pause):
		}
	}
}

// asServer waits for attempts that the reader begins, after those of the hellos that came too early.
func (l *Leg) asServer(ctx context.Context, kept []early) (result, error) {
	for _, hello := range kept {
		if hello.from == l.address() {
			l.dtls.packet(l, hello.b)
		}
	}
	var last error
	for {
		select {
		case r := <-l.dtls.ended:
			if r.err == nil || errors.Is(r.err, ErrFingerprint) {
				return r, r.err
			}
			last = r.err
			l.dtls.remove(r.a)
		case <-ctx.Done():
			return result{}, handshakeError(last)
		}
	}
}

func handshakeError(cause error) error {
	if cause == nil {
		return fmt.Errorf("%w: nothing heard", ErrHandshake)
	}
	return fmt.Errorf("%w: %w", ErrHandshake, cause)
}

// begin starts an attempt in a goroutine that handshake waits for: none if the leg has had too many, or if its parallel ones
// have all been proven. d.mu is held.
func (d *attempts) begin(l *Leg, said clientHello, proven bool, limit time.Duration) *attempt {
	if !d.open || d.begun == maxAttempts || len(d.list) == maxParallel && !d.evict() {
		return nil
	}
	d.begun++
	ctx, cancel := context.WithTimeout(d.ctx, limit)
	a := &attempt{said: said, proven: proven, pipe: newPipe(l), cancel: cancel}
	d.list = append(d.list, a)
	d.wg.Go(func() {
		defer cancel()
		conn, err := l.dial(ctx, a)
		if err != nil {
			a.pipe.Close()
		}
		select {
		case d.ended <- result{a, conn, err}:
		case <-d.ctx.Done():
			a.pipe.Close()
		}
	})
	return a
}

// evict ends the oldest attempt whose peer has not shown that it is at its address; false if there is none. d.mu is held.
func (d *attempts) evict() bool {
	i := slices.IndexFunc(d.list, func(a *attempt) bool { return !a.proven })
	if i < 0 {
		return false
	}
	d.list[i].cancel()
	d.list[i].pipe.Close()
	d.list = slices.Delete(d.list, i, i+1)
	return true
}

func (d *attempts) remove(a *attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a.pipe.Close()
	d.list = slices.DeleteFunc(d.list, func(b *attempt) bool { return a == b })
}

// finish keeps the winner, if any, and closes the others.
func (d *attempts) finish(winner *attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.winner = false, winner
	for _, a := range d.list {
		if a != winner {
			a.pipe.Close()
		}
	}
	d.list = nil
}

// close ends the handshake or, with a close_notify, the association that came of it.
func (d *attempts) close() {
	d.mu.Lock()
	cancel, conn := d.cancel, d.conn
	d.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if conn != nil {
		_ = conn.Close() // the close_notify is a courtesy: SIP ends the call
	}
}

// packet hands a DTLS datagram to the attempt it belongs to, or begins one for a new hello.
func (d *attempts) packet(l *Leg, b []byte) {
	h, isHello := helloOf(b)
	if clearAlert(b) {
		l.counters.drop(DropAlert)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := false
	switch {
	case d.winner != nil:
		taken = d.winner.pipe.put(b)
	case isHello && !h.begins():
		taken = d.further(&h, b)
	case isHello:
		taken = d.hello(l, &h, b)
	default:
		taken = d.flight(b)
	}
	if !taken {
		l.counters.drop(DropHandshake)
	}
}

// hello goes by its random, or begins an attempt. d.mu is held.
func (d *attempts) hello(l *Leg, h *clientHello, b []byte) bool {
	i := slices.IndexFunc(d.list, func(a *attempt) bool { return a.said.random == h.random })
	if i >= 0 {
		a := d.list[i]
		a.proven, a.said = a.proven || h.cookie, *h
		return a.pipe.put(b)
	}
	if l.agreed.Role != sdp.DTLSServer || len(d.list) > 0 && !l.refuses(DropRace) {
		return false
	}
	a := d.begin(l, *h, false, l.cfg.Handshake)
	return a != nil && a.pipe.put(b)
}

// further is a piece of a hello that says nothing of which: each attempt that it fits gets it. d.mu is held.
func (d *attempts) further(h *clientHello, b []byte) (taken bool) {
	for _, a := range d.list {
		if h.continues(&a.said) {
			taken = a.pipe.put(b) || taken
		}
	}
	return taken
}

// flight is anything else: it goes to the youngest attempt whose peer is proven. d.mu is held.
func (d *attempts) flight(b []byte) bool {
	for i := len(d.list) - 1; i >= 0; i-- {
		if d.list[i].proven {
			return d.list[i].pipe.put(b)
		}
	}
	return false
}

// clearAlert reports whether a datagram holds an alert of epoch 0. Nothing authenticates it, and believing one would let
// anybody who can forge an address end the handshake (RFC 6347 4.1.2.7).
func clearAlert(b []byte) bool {
	for len(b) >= 13 {
		if b[0] == 21 && b[3] == 0 && b[4] == 0 {
			return true
		}
		n := 13 + int(b[11])<<8 + int(b[12])
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return false
}

// dial is the handshake itself. It returns ErrFingerprint if the certificate is another one than the SDP announced.
func (l *Leg) dial(ctx context.Context, a *attempt) (*dtls.Conn, error) {
	wrong := false
	verify := func(s *dtls.State) error {
		if len(s.PeerCertificates) == 0 || !sdp.MatchFingerprints(l.agreed.Fingerprints, s.PeerCertificates[0]) && l.refuses(DropFingerprint) {
			wrong = true
			return ErrFingerprint
		}
		return nil
	}
	shared := []dtls.Option{
		dtls.WithCertificates(l.cfg.Certificate.pair),
		dtls.WithSRTPProtectionProfiles(dtlsProfiles(l.cfg.Profiles)...),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret), // RFC 7627: no synchronised secrets
		dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), // for peers with an RSA certificate
		dtls.WithInsecureSkipVerify(true), // no chain: the fingerprint is the whole proof (RFC 5763 6.2)
		dtls.WithVerifyConnection(verify),
	}
	conn, err := l.open(a, shared)
	if err != nil {
		return nil, err
	}
	err = conn.HandshakeContext(ctx)
	if wrong {
		err = ErrFingerprint
	}
	if err == nil {
		// The check of record: no keys without it, whatever the callback above was asked.
		if s, ok := conn.ConnectionState(); !ok || verify(&s) != nil {
			err = ErrFingerprint
		}
	}
	if err != nil {
		_ = conn.Close() // it failed already
		return nil, err
	}
	return conn, nil
}

func (l *Leg) open(a *attempt, shared []dtls.Option) (*dtls.Conn, error) {
	remote := net.UDPAddrFromAddrPort(l.agreed.Remote)
	if l.agreed.Role == sdp.DTLSClient {
		list := make([]dtls.ClientOption, len(shared))
		for i, o := range shared {
			list[i] = o
		}
		return dtls.ClientWithOptions(a.pipe, remote, list...)
	}
	list := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
	for _, o := range shared {
		list = append(list, o)
	}
	return dtls.ServerWithOptions(a.pipe, remote, list...)
}

// key takes the SRTP keys out of the finished handshake (RFC 5764 4.2) and opens the leg for media.
func (l *Leg) key(conn *dtls.Conn) error {
	state, ok := conn.ConnectionState()
	chosen, has := conn.SelectedSRTPProtectionProfile()
	if !ok || !has {
		return fmt.Errorf("%w: no SRTP profile", ErrHandshake)
	}
	profile := Profile(chosen)
	c := srtp.Config{Profile: profile.srtp()}
	if err := c.ExtractSessionKeysFromDTLS(&state, l.agreed.Role == sdp.DTLSClient); err != nil {
		return fmt.Errorf("%w: keys: %w", ErrHandshake, err)
	}
	defer clear(c.Keys.LocalMasterKey)
	defer clear(c.Keys.RemoteMasterKey)
	if err := l.use(profile, c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt); err != nil {
		return fmt.Errorf("%w: keys: %w", ErrHandshake, err)
	}
	l.allow()
	return nil
}

// drain reads the association until the peer or we end it; what it carries as data is nobody's here.
func (l *Leg) drain(conn *dtls.Conn) {
	b := make([]byte, maxPacket)
	for {
		if _, err := conn.Read(b); err != nil {
			break
		}
	}
	l.Close() // close_notify is authenticated: the peer has ended this medium (RFC 5764 4)
}
