package diameter

import (
	"errors"

	"imsafe/proto/shard"
)

// Stateless is an application of 3GPP in which every request stands for itself (TS 29.229 5.3): what Cx and Sh have in common beyond the base
// protocol. A wire form has one, and does not change it.
type Stateless struct {
	ID       Application
	Features uint32 // of Feature-List-ID 1, those that we have (TS 29.229 7.1)
	// Answers are the formats of the answers that are taken, by their commands.
	Answers map[Command]Grammar
}

// noStateMaintained is the value of Auth-Session-State then.
const noStateMaintained = 1

// featureListID is the only list of features there is.
const featureListID = 1

// appendApplication writes Vendor-Specific-Application-Id.
func (s *Stateless) appendApplication(w *Writer) {
	w.Open(VendorSpecificApplicationID)
	w.Unsigned32(VendorID, Vendor3GPP)
	w.Unsigned32(AuthApplicationID, uint32(s.ID))
	w.Close()
}

func (s *Stateless) appendFeatures(w *Writer) {
	w.Open(SupportedFeatures)
	w.Unsigned32(VendorID, Vendor3GPP)
	w.Unsigned32(FeatureListID, featureListID)
	w.Unsigned32(FeatureList, s.Features)
	w.Close()
}

// Begin starts a request to realm, and to host if it is not empty.
func (s *Stateless) Begin(n *Node, c Command, host, realm string) Writer {
	w := Begin(make([]byte, 0, 1024), Header{Flags: FlagRequest | FlagProxiable, Command: c, Application: s.ID})
	var session [128]byte
	w.Octets(SessionID, n.AppendSessionID(session[:0]))
	s.appendApplication(&w)
	w.Enumerated(AuthSessionState, noStateMaintained)
	w.Text(OriginHost, n.Us().Host)
	w.Text(OriginRealm, n.Us().Realm)
	w.TextIf(DestinationHost, host)
	w.Text(DestinationRealm, realm)
	return w
}

// Knows reports whether we have the features that a request insists on (TS 29.229 7.2.1).
func (s *Stateless) Knows(m Message) bool {
	for a := range m.AVPs().All() {
		if a.ID() != SupportedFeatures || !a.Mandatory() {
			continue
		}
		vendor, _ := a.Group().Number(VendorID)
		id, _ := a.Group().Number(FeatureListID)
		list, _ := a.Group().Number(FeatureList)
		if vendor != Vendor3GPP || id != featureListID || list&^s.Features != 0 {
			return false
		}
	}
	return true
}

// Outcome is the result in an answer: a Result-Code, or with Experimental an Experimental-Result-Code of 3GPP.
type Outcome struct {
	Code         uint32
	Experimental bool
}

// featureUnsupported is DIAMETER_ERROR_FEATURE_UNSUPPORTED (TS 29.229 6.2.2.11): its answer says which there are.
var featureUnsupported = Outcome{5011, true}

// Exchange is one request that is being served: what its answer needs of it. It belongs to whoever serves it.
type Exchange struct {
	Origin string // Origin-Host
	Secure bool   // it came by mutual TLS with the peer's name in it

	app      *Stateless
	us       Identities
	header   Header
	session  []byte
	proxy    []byte // Proxy-Info, to be given back
	features bool   // the peer spoke of features, so the answer does
	reply    Reply
}

// Exchange notes what the answer to a request needs. It keeps nothing of r but its Reply.
func (s *Stateless) Exchange(r *Request, us Identities) Exchange {
	h := r.Header()
	h.Flags &= FlagProxiable
	x := Exchange{Origin: string(r.Identity(OriginHost)), Secure: r.Secure, app: s, us: us, header: h,
		session: append([]byte(nil), r.Identity(SessionID)...), reply: r.Reply}
	_, x.features = r.Find(SupportedFeatures)
	var proxy Writer
	CopyProxyInfo(&proxy, r.Message)
	x.proxy = proxy.Bytes()
	return x
}

// Answer starts the answer with a result (TS 29.229 6.2).
func (x *Exchange) Answer(o Outcome) Writer {
	h := x.header
	if !o.Experimental && Result(o.Code).Protocol() {
		h.Flags |= FlagError
	}
	w := Begin(make([]byte, 0, 1024), h)
	w.Octets(SessionID, x.session)
	x.app.appendApplication(&w)
	if o.Experimental {
		w.Open(ExperimentalResult)
		w.Unsigned32(VendorID, Vendor3GPP)
		w.Unsigned32(ExperimentalResultCode, o.Code)
		w.Close()
	} else {
		w.Unsigned32(ResultCode, o.Code)
	}
	w.Enumerated(AuthSessionState, noStateMaintained)
	w.Text(OriginHost, x.us.Host)
	w.Text(OriginRealm, x.us.Realm)
	if x.features || o == featureUnsupported {
		x.app.appendFeatures(&w)
	}
	return w
}

// Send ends the answer, sends it, and wipes it: it may have held keys.
func (x *Exchange) Send(w *Writer) {
	w.Raw(x.proxy)
	b, err := w.End()
	if err != nil {
		x.Fail(Outcome{Code: uint32(ResultUnableToComply)})
		return
	}
	x.reply.Send(b)
	clear(b)
}

// Fail answers with nothing but a result.
func (x *Exchange) Fail(o Outcome) {
	w := x.Answer(o)
	x.Send(&w)
}

// Serving serves one request on a shard: Serve makes the answer. Give it to Shard.Exec.
type Serving struct {
	X     Exchange
	Serve func(*shard.Task, *Exchange) Writer
}

// Run implements shard.Event.
func (s *Serving) Run(on *shard.Shard) {
	if !on.Begin(s) {
		s.X.Fail(Outcome{Code: uint32(ResultTooBusy)})
	}
}

// Proceed implements shard.Procedure.
func (s *Serving) Proceed(t *shard.Task) {
	answered := false
	defer func() {
		if !answered { // a panic, which the shard reports, or its end
			s.X.Fail(Outcome{Code: uint32(ResultUnableToComply)})
		}
	}()
	w := s.Serve(t, &s.X)
	answered = true
	s.X.Send(&w)
}

// Ask sends a request that Begin began, and returns the answer with its result. Errors: ErrTooLong, shard.ErrFull, ErrNoPeer, ErrTimeout, and
// ErrAnswer also for an answer without a result, with two, or with that of another vendor.
func (s *Stateless) Ask(t *shard.Task, n *Node, w *Writer, out Outgoing) (answer Message, o Outcome, err error) {
	if out.Message, err = w.End(); err != nil {
		return Message{}, o, err
	}
	m, _ := Parse(out.Message) // what a Writer made
	out.Answer = s.Answers[m.Command()]
	if answer, err = n.Do(t, &out); err != nil {
		return Message{}, o, err
	}
	r, vendor, ok := ResultOf(answer)
	if !ok || contradicts(answer) || vendor != 0 && vendor != Vendor3GPP {
		return Message{}, o, ErrAnswer
	}
	return answer, Outcome{uint32(r), vendor != 0}, nil
}

// Undelivered says what an error of Ask is as a result, so that a contract has one kind of failure.
func Undelivered(err error) Outcome {
	switch {
	case errors.Is(err, shard.ErrFull):
		return Outcome{Code: uint32(ResultTooBusy)}
	case errors.Is(err, ErrTooLong):
		return Outcome{5008, true} // DIAMETER_ERROR_TOO_MUCH_DATA (TS 29.229 6.2.2.8)
	case errors.Is(err, ErrAnswer):
		return Outcome{Code: uint32(ResultUnableToComply)}
	}
	return Outcome{Code: uint32(ResultUnableToDeliver)}
}

// contradicts reports whether an answer has two results. One of them would be believed here and the other elsewhere.
func contradicts(answer Message) bool {
	_, base := answer.Find(ResultCode)
	_, own := answer.Find(ExperimentalResult)
	return base && own && answer.Flags()&FlagError == 0
}

// Number finds an Unsigned32 or Enumerated.
func (v AVPs) Number(id ID) (uint32, bool) {
	a, ok := v.Find(id)
	if !ok {
		return 0, false
	}
	return a.Unsigned32()
}

// Text finds a text; "" if there is none.
func (v AVPs) Text(id ID) string {
	a, _ := v.Find(id)
	return string(a.Data)
}

// Choice reads an AVP whose values are 0 to last; def without one. Another value is a Fault.
func (v AVPs) Choice(id ID, def, last uint32) (uint32, *Fault) {
	a, ok := v.Find(id)
	if !ok {
		return def, nil
	}
	n, _ := a.Unsigned32()
	if n > last {
		return 0, WrongValue(ResultInvalidAVPValue, id, a.Data)
	}
	return n, nil
}

// WrongValue is a wrong value in an AVP.
func WrongValue(r Result, id ID, value []byte) *Fault {
	return &Fault{Result: r, Failed: Example(id, value)}
}

// Flag appends a truth as the applications of 3GPP have it: 0 or 1.
func (w *Writer) Flag(id ID, v bool) {
	n := int32(0)
	if v {
		n = 1
	}
	w.Enumerated(id, n)
}
