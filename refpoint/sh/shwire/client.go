package shwire

import (
	"errors"
	"sync/atomic"

	d "imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
)

// ClientConfig is what a Client is made of.
type ClientConfig struct {
	Realm string // of the HSS
	Host  string // of the HSS; "" any peer that serves the realm
	// AS takes PNR; nil: they are refused.
	AS     sh.Client
	Shards []*shard.Shard // procedures for PNR run on these, in turn; needed with AS
}

// Client is an HSS elsewhere, for one instance of a service. What a request says of who asks (AS) does not go out: the certificate says it.
type Client struct {
	cfg  ClientConfig
	node *d.Node
	turn atomic.Uint32
}

var _ sh.Server = (*Client)(nil)

// NewClient makes a Client. Its Application goes into the configuration of a Node, which Bind then gets.
func NewClient(c ClientConfig) (*Client, error) {
	switch {
	case c.Realm == "":
		return nil, errors.New("shwire: the realm of the HSS is needed")
	case c.AS != nil && len(c.Shards) == 0:
		return nil, errors.New("shwire: a shard is needed for what the HSS pushes")
	}
	return &Client{cfg: c}, nil
}

// Application is Sh as an application server takes it.
func (c *Client) Application() d.ApplicationConfig {
	a := d.ApplicationConfig{ID: d.AppSh, Vendor: d.Vendor3GPP}
	if c.cfg.AS != nil {
		a.Accepts, a.Handler = clientGrammars(), c
	}
	return a
}

// Bind gives the Node. Once, before the Node runs.
func (c *Client) Bind(n *d.Node) { c.node = n }

func (c *Client) begin(cmd d.Command) d.Writer {
	return app.Begin(c.node, cmd, c.cfg.Host, c.cfg.Realm)
}

// ask sends a request by mutual TLS only: personal data come back.
func (c *Client) ask(t *shard.Task, w *d.Writer) (d.Message, error) {
	m, _, err := ask(t, c.node, w, d.Outgoing{Host: c.cfg.Host, Realm: c.cfg.Realm, Secure: true})
	return m, err
}

// UserData sends UDR; see sh.Server.
func (c *Client) UserData(t *shard.Task, r *sh.UserDataRequest) (*sh.UserDataAnswer, error) {
	w := c.begin(d.UDR)
	appendUDR(&w, r)
	m, err := c.ask(t, &w)
	if err != nil {
		return nil, err
	}
	a, err := decodeUDA(m.AVPs())
	if err != nil {
		return nil, errUnreadable
	}
	return a, nil
}

// ProfileUpdate sends PUR; see sh.Server.
func (c *Client) ProfileUpdate(t *shard.Task, r *sh.ProfileUpdateRequest) (*sh.ProfileUpdateAnswer, error) {
	w := c.begin(d.PUR)
	appendPUR(&w, r)
	m, err := c.ask(t, &w)
	if err != nil {
		return nil, err
	}
	a := &sh.ProfileUpdateAnswer{}
	a.WildcardedPSI, a.WildcardedIMPU = decodeRange(m.AVPs())
	return a, nil
}

// SubscribeNotifications sends SNR; see sh.Server.
func (c *Client) SubscribeNotifications(t *shard.Task, r *sh.SubscribeNotificationsRequest) (*sh.SubscribeNotificationsAnswer, error) {
	w := c.begin(d.SNR)
	appendSNR(&w, r)
	m, err := c.ask(t, &w)
	if err != nil {
		return nil, err
	}
	a, err := decodeSNA(m.AVPs())
	if err != nil {
		return nil, errUnreadable
	}
	return a, nil
}

// Serve implements diameter.Handler: what the HSS pushes.
func (c *Client) Serve(r *d.Request) {
	p := &d.Serving{X: app.Exchange(r, c.node.Us())}
	q, f, err := decodePNR(r.AVPs())
	p.Serve = func(t *shard.Task, x *d.Exchange) d.Writer {
		return x.Answer(outcome(sh.ResultOf(c.cfg.AS.PushNotification(t, q))))
	}
	switch {
	case !r.Secure:
		p.X.Fail(outcome(sh.ResultNoSubscriptionToData)) // to nobody whom a certificate vouches for
	case f != nil:
		r.Reply.Send(d.AppendError(nil, r.Message, c.node.Us(), *f))
	case err != nil:
		p.X.Fail(outcome(sh.ResultOf(err)))
	case !app.Knows(r.Message):
		p.X.Fail(outcome(sh.ResultFeatureUnsupported))
	case !c.cfg.Shards[c.turn.Add(1)%uint32(len(c.cfg.Shards))].Exec(p):
		p.X.Fail(outcome(sh.ResultTooBusy))
	}
}
