package cxwire

import (
	"errors"

	d "imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// noStateMaintained is the value of Auth-Session-State in all of Cx (TS 29.229 5.3).
const noStateMaintained = 1

// Features of Cx that we know, of Feature-List-ID 1 (TS 29.229 7.1.1): bit 2 is IMS restoration.
const (
	featureListID = 1
	ourFeatures   = 1 << 2
)

// appendVendorApplication writes Vendor-Specific-Application-Id of Cx.
func appendVendorApplication(w *d.Writer) {
	w.Open(d.VendorSpecificApplicationID)
	w.Unsigned32(d.VendorID, d.Vendor3GPP)
	w.Unsigned32(d.AuthApplicationID, uint32(d.AppCx))
	w.Close()
}

func appendFeatures(w *d.Writer) {
	w.Open(d.SupportedFeatures)
	w.Unsigned32(d.VendorID, d.Vendor3GPP)
	w.Unsigned32(d.FeatureListID, featureListID)
	w.Unsigned32(d.FeatureList, ourFeatures)
	w.Close()
}

// begin starts a request to realm, and to host if it is not empty.
func begin(n *d.Node, c d.Command, host, realm string) d.Writer {
	w := d.Begin(make([]byte, 0, 1024), d.Header{Flags: d.FlagRequest | d.FlagProxiable, Command: c, Application: d.AppCx})
	var session [128]byte
	w.Octets(d.SessionID, n.AppendSessionID(session[:0]))
	appendVendorApplication(&w)
	w.Enumerated(d.AuthSessionState, noStateMaintained)
	w.Text(d.OriginHost, n.Us().Host)
	w.Text(d.OriginRealm, n.Us().Realm)
	w.TextIf(d.DestinationHost, host)
	w.Text(d.DestinationRealm, realm)
	return w
}

// exchange is one request that is being served: what its answer needs of it.
type exchange struct {
	us       d.Identities
	header   d.Header
	session  []byte
	proxy    []byte // Proxy-Info, to be given back
	features bool   // the peer spoke of features, so the answer does
	origin   string // Origin-Host
	secure   bool   // it came by mutual TLS with the peer's name in it
	reply    d.Reply
}

func newExchange(r *d.Request, us d.Identities) exchange {
	h := r.Header()
	h.Flags &= d.FlagProxiable
	x := exchange{us: us, header: h, session: append([]byte(nil), r.Identity(d.SessionID)...),
		origin: string(r.Identity(d.OriginHost)), secure: r.Secure, reply: r.Reply}
	_, x.features = r.Find(d.SupportedFeatures)
	var proxy d.Writer
	d.CopyProxyInfo(&proxy, r.Message)
	x.proxy = proxy.Bytes()
	return x
}

// answer starts the answer with a result (TS 29.229 6.2).
func (x *exchange) answer(result cx.Result) d.Writer {
	h := x.header
	if !result.Experimental() && d.Result(result.Code()).Protocol() {
		h.Flags |= d.FlagError
	}
	w := d.Begin(make([]byte, 0, 1024), h)
	w.Octets(d.SessionID, x.session)
	appendVendorApplication(&w)
	if result.Experimental() {
		w.Open(d.ExperimentalResult)
		w.Unsigned32(d.VendorID, d.Vendor3GPP)
		w.Unsigned32(d.ExperimentalResultCode, result.Code())
		w.Close()
	} else {
		w.Unsigned32(d.ResultCode, result.Code())
	}
	w.Enumerated(d.AuthSessionState, noStateMaintained)
	w.Text(d.OriginHost, x.us.Host)
	w.Text(d.OriginRealm, x.us.Realm)
	if x.features || result == cx.ResultFeatureUnsupported {
		appendFeatures(&w)
	}
	return w
}

// send ends the answer and sends it.
func (x *exchange) send(w *d.Writer) {
	w.Raw(x.proxy)
	b, err := w.End()
	if err != nil {
		x.fail(cx.ResultUnableToComply)
		return
	}
	x.reply.Send(b)
	clear(b) // it may have held keys
}

// fail answers with nothing but a result.
func (x *exchange) fail(result cx.Result) {
	w := x.answer(result)
	x.send(&w)
}

// procedure serves one request on a shard: serve makes the answer.
type procedure struct {
	x     exchange
	serve func(*shard.Task, *exchange) d.Writer
}

// Run implements shard.Event.
func (p *procedure) Run(s *shard.Shard) {
	if !s.Begin(p) {
		p.x.fail(cx.ResultTooBusy)
	}
}

// Proceed implements shard.Procedure.
func (p *procedure) Proceed(t *shard.Task) {
	answered := false
	defer func() {
		if !answered { // a panic, which the shard reports, or its end
			p.x.fail(cx.ResultUnableToComply)
		}
	}()
	w := p.serve(t, &p.x)
	answered = true
	p.x.send(&w)
}

// checkFeatures refuses a request that insists on features we do not have (TS 29.229 7.2.1).
func checkFeatures(m d.Message) bool {
	for a := range m.AVPs().All() {
		if a.ID() != d.SupportedFeatures || !a.Mandatory() {
			continue
		}
		vendor, _ := number(a.Group(), d.VendorID)
		id, _ := number(a.Group(), d.FeatureListID)
		list, _ := number(a.Group(), d.FeatureList)
		if vendor != d.Vendor3GPP || id != featureListID || list&^uint32(ourFeatures) != 0 {
			return false
		}
	}
	return true
}

// number finds an Unsigned32 or Enumerated.
func number(v d.AVPs, id d.ID) (uint32, bool) {
	a, ok := v.Find(id)
	if !ok {
		return 0, false
	}
	return a.Unsigned32()
}

// text finds a text; "" if there is none.
func text(v d.AVPs, id d.ID) string {
	a, _ := v.Find(id)
	return string(a.Data)
}

// texts collects all of one name.
func texts[T ~string](v d.AVPs, id d.ID) []T {
	var all []T
	for a := range v.All() {
		if a.ID() == id {
			all = append(all, T(a.Data))
		}
	}
	return all
}

// fault is a wrong value in an AVP.
func fault(r d.Result, id d.ID, value []byte) *d.Fault {
	return &d.Fault{Result: r, Failed: d.Example(id, value)}
}

// enumerated reads an AVP whose values are 0 to last; def without one.
func enumerated(v d.AVPs, id d.ID, def, last uint32) (uint32, *d.Fault) {
	a, ok := v.Find(id)
	if !ok {
		return def, nil
	}
	n, _ := a.Unsigned32()
	if n > last {
		return 0, fault(d.ResultInvalidAVPValue, id, a.Data)
	}
	return n, nil
}

// Errors of the transport as the contract's one error: what a CSCF does then is the same (TS 29.228 6).
var (
	errUndeliverable = &cx.ResultError{Result: cx.MakeResult(uint32(d.ResultUnableToDeliver), false)}
	errUnreadable    = cx.ErrUnableToComply
)

// ask sends a request and returns the answer with its result. err is set for every result that is a failure; answer is then
// still there if a peer gave one.
func ask(t *shard.Task, n *d.Node, w *d.Writer, out d.Outgoing) (answer d.Message, result cx.Result, err error) {
	if out.Message, err = w.End(); err != nil {
		return d.Message{}, 0, cx.ErrTooMuchData
	}
	out.Answer = formatOf(out.Message)
	answer, err = n.Do(t, &out)
	switch {
	case errors.Is(err, shard.ErrFull):
		return d.Message{}, 0, cx.ErrTooBusy
	case errors.Is(err, d.ErrAnswer):
		return d.Message{}, 0, errUnreadable
	case err != nil:
		return d.Message{}, 0, errUndeliverable
	}
	r, vendor, ok := d.ResultOf(answer)
	if !ok || contradicts(answer) || vendor != 0 && vendor != d.Vendor3GPP {
		return d.Message{}, 0, errUnreadable
	}
	result = cx.MakeResult(uint32(r), vendor != 0)
	if !result.OK() {
		return answer, result, &cx.ResultError{Result: result}
	}
	return answer, result, nil
}

// contradicts reports whether an answer has two results. One of them would be believed here and the other elsewhere.
func contradicts(answer d.Message) bool {
	_, base := answer.Find(d.ResultCode)
	_, own := answer.Find(d.ExperimentalResult)
	return base && own && answer.Flags()&d.FlagError == 0
}
