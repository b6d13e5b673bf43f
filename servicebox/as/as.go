// Package as is the kit that services are written with: application servers of TS 23.218 and TS 24.229 5.7, a page of Go each.
//
// A service is opened with its manifest, says what it does with sessions, and runs:
//
//	svc, err := as.Open("hello.service.toml")
//	svc.Handle(as.Terminating, func(ctx context.Context, s *as.Session) error { return s.Continue() })
//	err = svc.Run(ctx)
//
// Open makes a program of its own of it, on one mutual TLS 1.3 connection to the core; InProcess one that is compiled into the core.
// Both pass the same guard (iface/imsservice), and the code above is the same. A handler sees a Session: who calls, whom, whose session it
// is, as data. It decides with verbs: Continue, Try, Redirect, Reject, Fork, Answer, Bridge; Service.Originate, Send and Notify begin
// something. What was not granted is a *Denied, whether it is noticed here or by the core.
//
// Underneath it is a proxy, a user agent and a back-to-back user agent by RFC 3261 16, 8 and 12 on a shard of its own. It keeps no
// state over a restart: what is under way then is ended by the timers of others. Media that end at a service are the business of a media server
// (refpoint/mr, servicebox/media): UseMedia, AnswerMedia. It speaks no Sh.
//
// Services and node import it. Handlers run on goroutines of their own and may block; the methods of Service, Session and Leg may be called
// from any goroutine but not from within a How.
package as

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/link"
)

// Case is the part of a session that a service is asked in (TS 29.228 B.2.3).
type Case uint8

// The cases. A call to one of the service's own public service identities is Terminating, whether it is registered or not.
const (
	Originating  Case = iota // the served user calls, or a call of his was diverted (RFC 8498)
	Terminating              // he is called
	Unregistered             // he is called, and is not there
	caseCount
)

// String returns the name as it stands in manifests.
func (c Case) String() string {
	return [...]string{"originating", "terminating", "terminating-unregistered"}[min(c, Unregistered)]
}

// Handler decides about one session. ctx ends when the caller gives up, when the dialog is over, and with the service. What it has not
// decided when it returns nil goes on its way as if nobody had asked; after an error it is refused: 403 for a *Denied, else 500.
type Handler func(ctx context.Context, s *Session) error

// Parts is what a service that is compiled in is made of. Manifest, Clock and Rand are required.
type Parts struct {
	Manifest []byte
	// Granted are the scopes that the operator granted; nil is all that the manifest asks for.
	Granted []string
	Clock   shard.Clock
	// Rand gives tags, Call-IDs and keys. It must be unpredictable.
	Rand   io.Reader
	Log    *slog.Logger    // nil: no log
	Timers *siptxn.Timers  // nil: RFC 3261 table 4
	Limits siptxn.Limits   // of the transaction layer
	Pool   sip.Limits      // of messages
	Proof  func() []string // what Session.Protections says of the connection; nil: compiled in
}

// The errors of services. A *Denied and a *StatusError are told apart with errors.As.
var (
	ErrManifest = errors.New("as: manifest refused")
	ErrClosed   = errors.New("as: the service has ended")
	ErrOffline  = errors.New("as: no connection to the core")
	ErrDecided  = errors.New("as: it is decided already, or over")
	ErrGone     = errors.New("as: the caller has given up")
	ErrNoAck    = errors.New("as: the answer was not acknowledged")
	ErrURI      = errors.New("as: not a SIP or tel URI")
	ErrTimeout  = errors.New("as: no answer in time")
)

// StatusError is a failure response to what the service began.
type StatusError struct {
	Code   int
	Reason string
}

// Error says code and reason phrase.
func (e *StatusError) Error() string { return fmt.Sprintf("as: answered %d %s", e.Code, e.Reason) }

// Service is one service platform.
type Service struct {
	manifest *isc.Manifest
	host     string
	sentBy   []byte
	log      *slog.Logger
	random   io.Reader
	proof    func() []string
	timers   siptxn.Timers
	shard    *shard.Shard
	pool     *sip.Pool
	layer    *siptxn.Layer
	remote   *link.Dialer // nil for one that is compiled in

	sessions   [caseCount]Handler
	messages   [caseCount]Handler
	registered func(context.Context, *Registration) error

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup // handlers
	work work

	rights rights
	media  media
	pages  served

	// On the shard.
	flow   siptransport.Flow
	legs   map[legName]*Leg
	follow map[string]*Session // sessions that stay in the path, by Call-ID, while a handler listens

	counters Counters
}

// InProcess makes a service that is compiled into the core. It runs when Run runs, or whoever made it steps its shard; node attaches it.
func InProcess(p Parts) (*Service, error) {
	m, err := isc.Parse(p.Manifest)
	if err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrManifest, err)
	}
	if p.Clock == nil || p.Rand == nil {
		return nil, fmt.Errorf("%w: Clock and Rand are required", ErrManifest)
	}
	granted := m.Asked
	if p.Granted != nil {
		if granted, err = isc.ParseScopes(p.Granted); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrManifest, err)
		}
	}
	s := &Service{manifest: m, host: m.Host(), sentBy: []byte(m.Host()), log: p.Log, random: p.Rand, proof: p.Proof, timers: siptxn.DefaultTimers(),
		legs: map[legName]*Leg{}, follow: map[string]*Session{}, rights: rights{granted: granted}}
	s.work.init()
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.proof == nil {
		s.proof = func() []string { return []string{"I-S: compiled into the core"} }
	}
	if p.Timers != nil {
		s.timers = *p.Timers
	}
	var key shard.SealingKey
	if _, err := io.ReadFull(p.Rand, key[:]); err != nil {
		return nil, fmt.Errorf("as: randomness: %w", err)
	}
	s.shard = shard.New(shard.Config{Clock: p.Clock, OnPanic: func(v any, stack []byte) { s.log.Error("defect", "panic", v, "stack", string(stack)) }})
	s.pool = sip.NewPool(p.Pool)
	s.layer = siptxn.New(siptxn.Config{Shard: s.shard, Pool: s.pool, Sealer: shard.NewSealer(key), Kind: 'a', Timers: s.timers, Handler: s, Limits: p.Limits})
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Handle says what is done with calls (INVITE) in a case. Call it before Run.
func (s *Service) Handle(c Case, h Handler) { s.sessions[c] = h }

// HandleMessages says what is done with messages (MESSAGE, RFC 3428) in a case. Call it before Run.
func (s *Service) HandleMessages(c Case, h Handler) { s.messages[c] = h }

// Registered says what is done when the registration of a user changes (third-party REGISTER, TS 24.229 5.4.1.7, 5.7.1.1). Call it before
// Run.
func (s *Service) Registered(f func(context.Context, *Registration) error) { s.registered = f }

// Connected says whether there is a way to the core.
func (s *Service) Connected() bool {
	connected := false
	return s.do(func() error { connected = !s.flow.IsZero(); return nil }) == nil && connected
}

// Protections words which protections hold between the service and the core.
func (s *Service) Protections() []string { return s.proof() }

// Name returns the name of the service.
func (s *Service) Name() string { return s.manifest.Service }

// Domain returns the home domain.
func (s *Service) Domain() string { return s.manifest.Domain }

// Log returns the log of the service.
func (s *Service) Log() *slog.Logger { return s.log }

// PSI returns the first of its public service identities, "" if it has none.
func (s *Service) PSI() string {
	if len(s.manifest.PSI) == 0 {
		return ""
	}
	return s.manifest.PSI[0]
}

// Manifest returns what it asks for, as node reads it.
func (s *Service) Manifest() *isc.Manifest { return s.manifest }

// Shard is where it lives: for whoever steps it, a simulation or node.
func (s *Service) Shard() *shard.Shard { return s.shard }

// Run drives the service until ctx ends: its connection, its timers. It returns when all handlers have.
func (s *Service) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.stop)
	defer stop()
	if s.remote != nil {
		s.wg.Go(func() { s.remote.Run(s.ctx, s.shard, end{s}) })
	}
	s.wg.Go(func() {
		if err := s.pages.serve(s.ctx); err != nil {
			s.log.Error("no pages", "error", err)
		}
	})
	err := s.shard.Run(s.ctx)
	s.Close()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// Close ends the service at once, and returns when all handlers have returned. Not from a handler.
func (s *Service) Close() {
	s.stop()
	s.wg.Wait()
	s.shard.Close()
	if s.media.server != nil {
		s.media.server.Close()
	}
}

// Connect makes f the way to the core. It is for whoever carries the messages: node for a service that is compiled in.
func (s *Service) Connect(f siptransport.Flow) { s.enter(func() { s.flow = f }) }

// Deliver takes one message from the core that came over f, and copies it. Any goroutine.
func (s *Service) Deliver(f siptransport.Flow, data []byte) {
	data = append([]byte(nil), data...)
	s.enter(func() { s.layer.Input(f, data) })
}

// Disconnected says that a way to the core has closed.
func (s *Service) Disconnected(f siptransport.Flow) {
	s.enter(func() {
		if s.flow == f {
			s.flow = siptransport.Flow{}
		}
		s.layer.FlowClosed(f)
	})
}

// enter runs f on the shard; false if the service has ended, or has too much to do.
func (s *Service) enter(f func()) bool {
	return s.shard.Exec(shard.EventFunc(func(*shard.Shard) { f() }))
}

// send starts a client transaction towards the core and takes m over.
func (s *Service) send(m *sip.Message, r siptxn.Responder) (*siptxn.Client, error) {
	if s.flow.IsZero() {
		m.Release()
		return nil, ErrOffline
	}
	return s.layer.Send(s.flow, m, s.sentBy, r)
}

// acknowledge sends an ACK and takes m over. A lost one is repaired by the 2xx that comes again.
func (s *Service) acknowledge(m *sip.Message) {
	if s.flow.IsZero() {
		m.Release()
		return
	}
	if err := s.layer.SendAck(s.flow, m, s.sentBy); err != nil {
		s.log.Debug("ack not sent", "error", err)
	}
}

// respond sends a response through tx; edit may add to it. Without a tag from edit it gets the one of the transaction.
func (s *Service) respond(tx *siptxn.Server, request *sip.Message, code int, edit func(*sip.Message)) {
	r := s.pool.NewResponse(request, code, "")
	if edit != nil {
		edit(r)
	}
	if code > 100 && len(r.ToTag()) == 0 {
		var tag [64]byte
		r.SetToTag(string(tx.AppendTag(tag[:0])))
	}
	if err := s.layer.Respond(tx, r); err != nil {
		s.log.Debug("response not sent", "code", code, "error", err)
	}
}

// contact is where requests inside dialogs of the service go.
func (s *Service) contact() string { return "<sip:" + s.host + ";transport=tls>" }

// token returns a random SIP token of n characters of 5 bits each: 16 are more than RFC 3261 19.3 asks of a tag.
func (s *Service) token(n int) string {
	b := make([]byte, (n*5+7)/8)
	if _, err := io.ReadFull(s.random, b); err != nil {
		panic("as: no randomness: " + err.Error()) // the shard reports it; going on with a known tag is worse
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))[:n]
}
