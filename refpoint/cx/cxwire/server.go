package cxwire

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	d "imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// ReasonKeysInClear names the refusal of a request whose answer would carry CK, IK, XRES or H(A1) to a peer without mutual TLS.
// It cannot be switched off, only excepted by LabCleartextKeys, and for H(A1) not by that either.
const ReasonKeysInClear = "keys-in-clear"

// ServerConfig is what a Server is made of.
type ServerConfig struct {
	HSS    cx.Server
	Shards []*shard.Shard // procedures run on these, in turn
	// Hosts are the Diameter hosts of S-CSCFs, by their SIP names; that of one that is not here is the host of its SIP URI. What is pushed for an S-CSCF goes
	// there (TS 29.228 6.1.3, Destination-Host), and no other peer may use its name.
	Hosts map[string]string
	// LabCleartextKeys lets session keys go to peers without TLS. For laboratories: who listens owns every security association.
	// What a password was made to never goes: it is worth something for years.
	LabCleartextKeys bool
	// Refused is told of refusals, with ReasonKeysInClear. On any shard; it may be nil.
	Refused func(peer, reason string)
}

// Server serves Cx for an HSS.
type Server struct {
	cfg  ServerConfig
	node *d.Node
	turn atomic.Uint32
}

// NewServer makes a Server. Its Application goes into the configuration of a Node, which Bind then gets.
func NewServer(c ServerConfig) (*Server, error) {
	if c.HSS == nil || len(c.Shards) == 0 {
		return nil, errors.New("cxwire: an HSS and a shard are needed")
	}
	return &Server{cfg: c}, nil
}

// Application is Cx as the HSS takes it.
func (s *Server) Application() d.ApplicationConfig {
	return d.ApplicationConfig{ID: d.AppCx, Vendor: d.Vendor3GPP, Accepts: serverGrammars(), Handler: s}
}

// Bind gives the Node. Once, before the Node runs.
func (s *Server) Bind(n *d.Node) { s.node = n }

// Serve implements diameter.Handler: it decodes, and leaves the rest to a procedure.
func (s *Server) Serve(r *d.Request) {
	p := &d.Serving{X: app.Exchange(r, s.node.Us())}
	v := r.AVPs()
	var f *d.Fault
	var bears bool // keys, in its answer
	switch r.Command() {
	case d.UAR:
		var q *cx.UserAuthorizationRequest
		q, f = decodeUAR(v)
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return s.userAuthorization(t, x, q) }
	case d.SAR:
		var q *cx.ServerAssignmentRequest
		q, f = decodeSAR(v)
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return s.serverAssignment(t, x, q) }
	case d.LIR:
		var q *cx.LocationInfoRequest
		q, f = decodeLIR(v)
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return s.locationInfo(t, x, q) }
	case d.MAR:
		var q *cx.MultimediaAuthRequest
		q, f = decodeMAR(v)
		bears = true
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return s.multimediaAuth(t, x, q) }
	}
	switch {
	case f != nil:
		r.Reply.Send(d.AppendError(nil, r.Message, s.node.Us(), *f))
	case !s.ownName(r) && r.Refused(d.ServerName): // before a vector is drawn
	case !app.Knows(r.Message):
		p.X.Fail(outcome(cx.ResultFeatureUnsupported))
	case bears && !r.Secure && !s.cfg.LabCleartextKeys:
		s.refused(r.Peer)
		p.X.Fail(outcome(cx.ResultUnableToComply)) // before a sequence number is spent
	case !s.cfg.Shards[s.turn.Add(1)%uint32(len(s.cfg.Shards))].Exec(p):
		p.X.Fail(outcome(cx.ResultTooBusy))
	}
}

func (s *Server) userAuthorization(t *shard.Task, x *d.Exchange, r *cx.UserAuthorizationRequest) d.Writer {
	a, err := s.cfg.HSS.UserAuthorization(t, r)
	if err != nil {
		return x.Answer(outcome(cx.ResultOf(err)))
	}
	w := x.Answer(outcome(a.Result))
	appendUAA(&w, a)
	return w
}

func (s *Server) serverAssignment(t *shard.Task, x *d.Exchange, r *cx.ServerAssignmentRequest) d.Writer {
	a, err := s.cfg.HSS.ServerAssignment(t, r)
	result := cx.ResultOf(err)
	if err == nil {
		result = a.Result
	}
	w := x.Answer(outcome(result))
	if a != nil { // with some failures too
		appendSAA(&w, a)
	}
	return w
}

func (s *Server) locationInfo(t *shard.Task, x *d.Exchange, r *cx.LocationInfoRequest) d.Writer {
	a, err := s.cfg.HSS.LocationInfo(t, r)
	if err != nil {
		return x.Answer(outcome(cx.ResultOf(err)))
	}
	w := x.Answer(outcome(a.Result))
	appendLIA(&w, a)
	return w
}

func (s *Server) multimediaAuth(t *shard.Task, x *d.Exchange, r *cx.MultimediaAuthRequest) d.Writer {
	a, err := s.cfg.HSS.MultimediaAuth(t, r)
	if err != nil {
		return x.Answer(outcome(cx.ResultOf(err)))
	}
	if !x.Secure && slices.ContainsFunc(a.Items, func(i cx.AuthDataItem) bool { return i.Digest != nil }) {
		s.refused(x.Origin)
		return x.Answer(outcome(cx.ResultUnableToComply))
	}
	w := x.Answer(outcome(a.Result))
	appendMAA(&w, a)
	return w
}

// refused tells of keys that a peer did not get.
func (s *Server) refused(peer string) {
	if s.cfg.Refused != nil {
		s.cfg.Refused(peer, ReasonKeysInClear)
	}
}

// ownName reports whether the Server-Name of a request, if it has one, is that of an S-CSCF of the peer: of whoever its certificate says. The HSS compares
// the name with the one that it keeps (TS 29.228 6.1.2, 6.3), which is worth as much as the name is proven.
func (s *Server) ownName(r *d.Request) bool {
	name, there := r.Find(d.ServerName)
	return !there || strings.EqualFold(s.hostOf(string(name.Data)), r.Peer)
}

// Push returns the push side of an S-CSCF, by its SIP name: what hss.Ports.Push wants. It is nil if the name leads to no host.
func (s *Server) Push(serverName string) cx.Client {
	if host := s.hostOf(serverName); host != "" {
		return &pusher{s, host}
	}
	return nil
}

// hostOf finds the Diameter host of an S-CSCF: what Hosts says, else the host of its SIP URI; "" of one that has another form.
func (s *Server) hostOf(serverName string) string {
	if host, ok := s.cfg.Hosts[serverName]; ok {
		return host
	}
	scheme, host, _ := strings.Cut(serverName, ":")
	host, port, _ := strings.Cut(host, ":")
	bad := func(of string) bool { return strings.Trim(of, hostChars) != "" }
	if scheme != "sip" || bad(host) || strings.Trim(port, "0123456789") != "" {
		return ""
	}
	return host
}

const hostChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"

// pusher is an S-CSCF elsewhere.
type pusher struct {
	s    *Server
	host string
}

var _ cx.Client = (*pusher)(nil)

// RegistrationTermination sends RTR.
func (p *pusher) RegistrationTermination(t *shard.Task, r *cx.RegistrationTerminationRequest) (*cx.RegistrationTerminationAnswer, error) {
	host, realm := p.host, p.s.node.Us().Realm
	w := app.Begin(p.s.node, d.RTR, host, realm)
	appendRTR(&w, r)
	m, result, err := ask(t, p.s.node, &w, d.Outgoing{Host: host, Realm: realm})
	if err != nil {
		return nil, err
	}
	return decodeRTA(m.AVPs(), result), nil
}

// PushProfile sends PPR. One with H(A1) goes by mutual TLS only.
func (p *pusher) PushProfile(t *shard.Task, r *cx.PushProfileRequest) (*cx.PushProfileAnswer, error) {
	host, realm := p.host, p.s.node.Us().Realm
	w := app.Begin(p.s.node, d.PPR, host, realm)
	appendPPR(&w, r)
	_, result, err := ask(t, p.s.node, &w, d.Outgoing{Host: host, Realm: realm, Secure: r.Digest != nil})
	if err != nil {
		return nil, err
	}
	return &cx.PushProfileAnswer{Result: result}, nil
}
