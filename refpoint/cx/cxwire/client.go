package cxwire

import (
	"errors"
	"slices"
	"sync/atomic"

	"imsafe/proto/aka"
	d "imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// ClientConfig is what a Client is made of.
type ClientConfig struct {
	Realm string // of the HSS
	Host  string // of the HSS; "" any peer that serves the realm
	// Algorithm is what subscribers use for whom the HSS does not say (see appendItem); 0 is AKAv1-MD5, as the standard has it.
	// Behind a foreign HSS it is one for all.
	Algorithm aka.DigestAlgorithm
	SCSCF     cx.Client // takes RTR and PPR; nil: they are refused
	// ServerName is the SIP name of our S-CSCF, which pushed requests are for.
	ServerName string
	Shards     []*shard.Shard // procedures for pushed requests run on these, in turn; needed with SCSCF
	// LabCleartextKeys lets session keys come from peers without TLS. For laboratories. H(A1) is not taken then: whoever listened
	// may have it.
	LabCleartextKeys bool
}

// Client is an HSS elsewhere.
type Client struct {
	cfg  ClientConfig
	node *d.Node
	turn atomic.Uint32
}

var _ cx.Server = (*Client)(nil)

// NewClient makes a Client. Its Application goes into the configuration of a Node, which Bind then gets.
func NewClient(c ClientConfig) (*Client, error) {
	if c.Algorithm == 0 {
		c.Algorithm = aka.AKAv1MD5
	}
	switch {
	case c.Realm == "":
		return nil, errors.New("cxwire: the realm of the HSS is needed")
	case !c.Algorithm.AKA():
		return nil, errors.New("cxwire: the algorithm of subscribers is one of AKA")
	case c.SCSCF != nil && len(c.Shards) == 0:
		return nil, errors.New("cxwire: a shard is needed for what the HSS pushes")
	}
	return &Client{cfg: c}, nil
}

// Application is Cx as a CSCF takes it.
func (c *Client) Application() d.ApplicationConfig {
	a := d.ApplicationConfig{ID: d.AppCx, Vendor: d.Vendor3GPP}
	if c.cfg.SCSCF != nil {
		a.Accepts, a.Handler = clientGrammars(), c
	}
	return a
}

// Bind gives the Node. Once, before the Node runs.
func (c *Client) Bind(n *d.Node) { c.node = n }

func (c *Client) begin(cmd d.Command) d.Writer {
	return app.Begin(c.node, cmd, c.cfg.Host, c.cfg.Realm)
}

func (c *Client) ask(t *shard.Task, w *d.Writer, secure bool) (d.Message, cx.Result, error) {
	return ask(t, c.node, w, d.Outgoing{Host: c.cfg.Host, Realm: c.cfg.Realm, Secure: secure})
}

// UserAuthorization sends UAR; see cx.Server.
func (c *Client) UserAuthorization(t *shard.Task, r *cx.UserAuthorizationRequest) (*cx.UserAuthorizationAnswer, error) {
	w := c.begin(d.UAR)
	appendUAR(&w, r)
	m, result, err := c.ask(t, &w, false)
	if err != nil {
		return nil, err
	}
	return decodeUAA(m.AVPs(), result), nil
}

// LocationInfo sends LIR; see cx.Server.
func (c *Client) LocationInfo(t *shard.Task, r *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	w := c.begin(d.LIR)
	appendLIR(&w, r)
	m, result, err := c.ask(t, &w, false)
	if err != nil {
		return nil, err
	}
	return decodeLIA(m.AVPs(), result), nil
}

// ServerAssignment sends SAR; see cx.Server. A request with a Batch is refused: there is no commit in common.
func (c *Client) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	if r.Batch != nil {
		return nil, cx.ErrUnableToComply
	}
	w := c.begin(d.SAR)
	appendSAR(&w, r)
	m, result, err := c.ask(t, &w, false)
	switch {
	case errors.Is(err, cx.ErrIdentityAlreadyRegistered), errors.Is(err, cx.ErrInAssignmentType):
	case err != nil:
		return nil, err
	}
	a, bad := decodeSAA(m.AVPs(), result)
	if bad != nil {
		return nil, bad
	}
	return a, err
}

// MultimediaAuth sends MAR; see cx.Server. It goes by mutual TLS only: keys come back.
func (c *Client) MultimediaAuth(t *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	w := c.begin(d.MAR)
	appendMAR(&w, r)
	m, result, err := c.ask(t, &w, !c.cfg.LabCleartextKeys)
	if err != nil {
		return nil, err
	}
	a, err := decodeMAA(m.AVPs(), result, c.cfg.Algorithm)
	clear(m.Bytes())
	if err == nil && c.cfg.LabCleartextKeys && slices.ContainsFunc(a.Items, func(i cx.AuthDataItem) bool { return i.Digest != nil }) {
		return nil, errUnreadable
	}
	return a, err
}

// Serve implements diameter.Handler: what the HSS pushes.
func (c *Client) Serve(r *d.Request) {
	p := &d.Serving{X: app.Exchange(r, c.node.Us())}
	v := r.AVPs()
	var f *d.Fault
	var err error
	var bears bool // H(A1)
	if r.Command() == d.RTR {
		var q *cx.RegistrationTerminationRequest
		q, f = decodeRTR(v)
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return c.registrationTermination(t, x, q) }
	} else {
		var q *cx.PushProfileRequest
		q, err = decodePPR(v)
		bears = err == nil && q.Digest != nil
		p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer { return c.pushProfile(t, x, q) }
	}
	switch {
	case f != nil:
		r.Reply.Send(d.AppendError(nil, r.Message, c.node.Us(), *f))
	case err != nil:
		p.X.Fail(outcome(cx.ResultOf(err)))
	case bears && !r.Secure:
		p.X.Fail(outcome(cx.ResultUnableToComply)) // H(A1) that anybody may have read is no secret
	case !app.Knows(r.Message):
		p.X.Fail(outcome(cx.ResultFeatureUnsupported))
	case !c.cfg.Shards[c.turn.Add(1)%uint32(len(c.cfg.Shards))].Exec(p):
		p.X.Fail(outcome(cx.ResultTooBusy))
	}
}

func (c *Client) registrationTermination(t *shard.Task, x *d.Exchange, r *cx.RegistrationTerminationRequest) d.Writer {
	r.ServerName = c.cfg.ServerName
	a, err := c.cfg.SCSCF.RegistrationTermination(t, r)
	if err != nil {
		return x.Answer(outcome(cx.ResultOf(err)))
	}
	w := x.Answer(outcome(a.Result))
	appendRTA(&w, a)
	return w
}

func (c *Client) pushProfile(t *shard.Task, x *d.Exchange, r *cx.PushProfileRequest) d.Writer {
	r.ServerName = c.cfg.ServerName
	a, err := c.cfg.SCSCF.PushProfile(t, r)
	if err != nil {
		return x.Answer(outcome(cx.ResultOf(err)))
	}
	return x.Answer(outcome(a.Result))
}
