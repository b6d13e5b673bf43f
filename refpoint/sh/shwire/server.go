package shwire

import (
	"errors"
	"sync/atomic"

	d "imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
)

// ServerConfig is what a Server is made of.
type ServerConfig struct {
	HSS    sh.Server
	Shards []*shard.Shard // procedures run on these, in turn
	// Service finds the service whose instance has a Diameter host; "" if it is none, or was suspended. On any shard.
	Service func(host string) string
}

// Server serves Sh for an HSS.
type Server struct {
	cfg  ServerConfig
	node *d.Node
	turn atomic.Uint32
}

// NewServer makes a Server. Its Application goes into the configuration of a Node, which Bind then gets.
func NewServer(c ServerConfig) (*Server, error) {
	if c.HSS == nil || len(c.Shards) == 0 || c.Service == nil {
		return nil, errors.New("shwire: an HSS, a shard and the services are needed")
	}
	return &Server{cfg: c}, nil
}

// Application is Sh as the HSS takes it.
func (s *Server) Application() d.ApplicationConfig {
	return d.ApplicationConfig{ID: d.AppSh, Vendor: d.Vendor3GPP, Accepts: serverGrammars(), Handler: s}
}

// Bind gives the Node. Once, before the Node runs.
func (s *Server) Bind(n *d.Node) { s.node = n }

// Serve implements diameter.Handler: it decodes, and leaves the rest to a procedure. Who asks is the peer, whose name stands in its
// certificate; a request that came in another way than by mutual TLS is nobody's.
func (s *Server) Serve(r *d.Request) {
	p := &d.Serving{X: app.Exchange(r, s.node.Us())}
	as := sh.AS{Service: s.cfg.Service(r.Peer), Host: r.Peer}
	if !r.Secure || as.Service == "" {
		p.X.Fail(outcome(refusalOf(r.Command())))
		return
	}
	v := r.AVPs()
	var f *d.Fault
	switch r.Command() {
	case d.UDR:
		var q *sh.UserDataRequest
		if q, f = decodeUDR(v); f == nil {
			q.AS = as
		}
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return s.userData(t, x, q) }
	case d.PUR:
		var q *sh.ProfileUpdateRequest
		if q, f = decodePUR(v); f == nil {
			q.AS = as
		}
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return s.profileUpdate(t, x, q) }
	case d.SNR:
		var q *sh.SubscribeNotificationsRequest
		if q, f = decodeSNR(v); f == nil {
			q.AS = as
		}
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return s.subscribeNotifications(t, x, q) }
	}
	switch {
	case f != nil:
		r.Reply.Send(d.AppendError(nil, r.Message, s.node.Us(), *f))
	case !app.Knows(r.Message):
		p.X.Fail(outcome(sh.ResultFeatureUnsupported))
	case !s.cfg.Shards[s.turn.Add(1)%uint32(len(s.cfg.Shards))].Exec(p):
		p.X.Fail(outcome(sh.ResultTooBusy))
	}
}

// refusalOf is the refusal of a command as a whole.
func refusalOf(c d.Command) sh.Result {
	switch c {
	case d.UDR:
		return sh.ResultUserDataCannotBeRead
	case d.PUR:
		return sh.ResultUserDataCannotBeModified
	}
	return sh.ResultUserDataCannotBeNotified
}

func (s *Server) userData(t *shard.Task, x *d.Exchange, r *sh.UserDataRequest) d.Writer {
	a, err := s.cfg.HSS.UserData(t, r)
	w := x.Answer(outcome(sh.ResultOf(err)))
	if err == nil {
		appendUDA(&w, a)
	}
	return w
}

func (s *Server) profileUpdate(t *shard.Task, x *d.Exchange, r *sh.ProfileUpdateRequest) d.Writer {
	a, err := s.cfg.HSS.ProfileUpdate(t, r)
	w := x.Answer(outcome(sh.ResultOf(err)))
	if err == nil {
		appendRange(&w, a.WildcardedPSI, a.WildcardedIMPU)
	}
	return w
}

func (s *Server) subscribeNotifications(t *shard.Task, x *d.Exchange, r *sh.SubscribeNotificationsRequest) d.Writer {
	a, err := s.cfg.HSS.SubscribeNotifications(t, r)
	w := x.Answer(outcome(sh.ResultOf(err)))
	if err == nil {
		appendSNA(&w, a)
	}
	return w
}

// Push returns the push side of an application server: what hss.Ports.Notify wants. nil if it is none any more.
func (s *Server) Push(as sh.AS) sh.Client {
	if s.cfg.Service(as.Host) != as.Service {
		return nil
	}
	return &pusher{s, as.Host}
}

// pusher is an application server elsewhere.
type pusher struct {
	s    *Server
	host string
}

var _ sh.Client = (*pusher)(nil)

// PushNotification sends PNR.
func (p *pusher) PushNotification(t *shard.Task, r *sh.PushNotificationRequest) error {
	realm := p.s.node.Us().Realm
	w := app.Begin(p.s.node, d.PNR, p.host, realm)
	appendPNR(&w, r)
	_, _, err := ask(t, p.s.node, &w, d.Outgoing{Host: p.host, Realm: realm, Secure: true})
	return err
}
