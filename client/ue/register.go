package ue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// State of the registration.
type State uint8

// States.
const (
	Unregistered State = iota
	Registering        // for the first time, or again after a loss
	Registered
)

// String returns the state in one word.
func (s State) String() string {
	switch s {
	case Registering:
		return "registering"
	case Registered:
		return "registered"
	}
	return "unregistered"
}

// Registration is a snapshot.
type Registration struct {
	State        State
	Granted      time.Duration  // life of the binding when it was granted
	IMPUs        []string       // P-Associated-URI: the implicit registration set; the first is the default identity
	ServiceRoute []string       // Route values for requests of ours
	Contact      string         // URI under which the network reaches this UE
	Proxy        netip.AddrPort // the P-CSCF that it goes over, or that is asked now
	Protection   string         // of the signalling path: version and cipher suite, or "in clear"
	Scheme       string         // by which network and user proved themselves
	Err          error          // why the last attempt failed
}

// registrar keeps the registration. On the shard.
type registrar struct {
	u       *UE
	current Registration
	running bool          // one procedure at a time
	waiting []shard.Waker // for the running one to end
	wanted  bool          // Register was called and Deregister was not
	until   time.Duration // end of the binding
	again   shard.Timer   // refresh, or the next attempt after a loss
	losses  int           // attempts that failed in a row
	anew    bool          // the next registration is an initial one

	path                            []string // as the network told it back: URIs of P-CSCFs
	callID, fromTag, user, instance string
	seq                             uint32
}

func (r *registrar) init(u *UE) {
	r.u = u
	r.callID, r.fromTag, r.user = u.token(24), u.token(16), u.token(16)
	r.instance = u.cfg.InstanceID
	if r.instance == "" {
		r.instance = uuid(u.cfg.Rand)
	}
	r.seq = 1
}

// uuid makes a random URN (RFC 9562 5.4).
func uuid(random io.Reader) string {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		panic("ue: no randomness: " + err.Error())
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Register registers, and keeps registered until Deregister or the end of Run: it refreshes in time, and begins again when the path
// is lost. Errors: ErrConnect, ErrRealm, ErrDowngrade, ErrNetwork, ErrSync, ErrChallenge, ErrRefused, *StatusError,
// siptxn.ErrTimeout. After an error nothing is kept up.
func (u *UE) Register(ctx context.Context) (Registration, error) {
	return ask(ctx, u, func(t *shard.Task) (Registration, error) {
		r := &u.reg
		r.turn(t)
		defer r.next()
		r.wanted = true
		err := r.register(t, u.cfg.Expires)
		r.wanted = err == nil
		return r.snapshot(), err
	})
}

// Deregister takes the binding away (TS 24.229 5.1.1.6). Afterwards nothing is kept up, also if the network did not answer.
func (u *UE) Deregister(ctx context.Context) error {
	return u.do(ctx, func(t *shard.Task) error {
		r := &u.reg
		r.turn(t)
		defer r.next()
		r.wanted = false
		u.shard.Disarm(&r.again)
		if r.current.State != Registered {
			return ErrNotRegistered
		}
		err := r.register(t, 0)
		r.lost(err)
		u.path.drop()
		return err
	})
}

// Registration returns the present state.
func (u *UE) Registration(ctx context.Context) (Registration, error) {
	return ask(ctx, u, func(*shard.Task) (Registration, error) { return u.reg.snapshot(), nil })
}

func (r *registrar) snapshot() Registration {
	s := r.current
	s.IMPUs, s.ServiceRoute = slices.Clone(s.IMPUs), slices.Clone(s.ServiceRoute)
	return s
}

// turn waits until no other procedure runs: two would fight over the sequence number and the card.
func (r *registrar) turn(t *shard.Task) {
	for r.running {
		t.Await(func(w shard.Waker) { r.waiting = append(r.waiting, w) })
	}
	r.running = true
}

func (r *registrar) next() {
	r.running = false
	for _, w := range r.waiting {
		w.Wake()
	}
	r.waiting = nil
}

// register is the whole procedure (TS 24.229 5.1.1.2, 5.1.1.4, 5.1.1.5; 5.1.1.6 with expires 0).
func (r *registrar) register(t *shard.Task, expires time.Duration) error {
	u := r.u
	if r.current.State == Unregistered {
		r.change(func(c *Registration) { c.State, c.Err, c.Proxy = Registering, nil, u.path.proxy() })
	}
	if r.anew && u.path.sec != nil {
		u.path.drop() // an initial registration begins in clear (TS 33.203 7.4)
	}
	r.anew = false
	err := r.everywhere(t, expires)
	if expires > 0 && isGone(err) && u.path.discover(t) {
		r.moves(err)
		err = r.everywhere(t, expires)
	}
	if err != nil && expires > 0 {
		r.failed(err)
	}
	return err
}

// everywhere is the procedure at the present P-CSCF, and at the others while one after the other is not there. The present one is asked again, as the last, if
// it may have forgotten what stands between it and the client.
func (r *registrar) everywhere(t *shard.Task, expires time.Duration) error {
	p := &r.u.path
	more := len(p.edges) - 1
	if p.stands() {
		more++
	}
	if expires == 0 { // who leaves does so where he is known, or where his card is
		more = 0
		if p.sec != nil && p.stands() {
			more = 1
		}
	}
	if p.edges[p.at].barred > r.u.shard.Now() {
		p.elsewhere() // if there is nobody else: whoever wants it now gets it
	}
	err := r.attempt(t, expires)
	for ; more > 0 && r.leaves(err) && p.elsewhere(); more-- {
		r.u.log.Info("the P-CSCF does not serve; the next one is asked", "peer", p.proxy(), "error", err)
		r.moves(err)
		err = r.attempt(t, expires)
	}
	return err
}

// attempt is the procedure at one P-CSCF.
func (r *registrar) attempt(t *shard.Task, expires time.Duration) error {
	u := r.u
	err := u.path.connect(t)
	if err == nil {
		err = r.converse(t, expires)
	}
	if sec := u.path.sec; sec != nil && err != nil {
		sec.release()
	}
	return err
}

// converse sends REGISTER until the network is content or one of the two gives up.
func (r *registrar) converse(t *shard.Task, expires time.Duration) error {
	u := r.u
	uri := "sip:" + u.identity.HomeDomain
	var a authentication
	credentials := u.emptyCredentials(uri)
	for brief := false; ; {
		resp, err := r.exchange(t, r.request(uri, expires, credentials), &a)
		if err != nil {
			return err
		}
		switch code := resp.Status(); {
		case code == 200 && !u.proven(&a, resp):
			resp.Release()
			u.path.drop() // whoever is at the other end is not the home network
			return ErrNetwork
		case code == 200:
			err = r.accept(resp, expires)
			resp.Release()
			return err
		case code == 401:
			credentials, err = u.answer(&a, resp, sip.HdrWWWAuthenticate, "REGISTER", uri)
			if err == nil && u.path.sec != nil && a.keys != nil {
				err = u.path.sec.install(resp, a.keys.CK, a.keys.IK)
			}
		case code == 423 && !brief && expires > 0: // RFC 3261 10.2.8
			least, _ := strconv.ParseUint(string(resp.Get(sip.HdrMinExpires)), 10, 32)
			brief, expires = true, time.Duration(least)*time.Second
			credentials = u.emptyCredentials(uri)
			if expires == 0 {
				err = statusError(resp)
			}
		default:
			err = statusError(resp)
		}
		resp.Release()
		if err != nil {
			return err
		}
	}
}

// exchange sends a REGISTER over what is right for it. With IPsec an answer goes over the associations that its challenge made, with the
// lists of both sides once more (TS 33.203 7.2); anything else over those of the authentication before, or in clear, with an offer.
func (r *registrar) exchange(t *shard.Task, m *sip.Message, a *authentication) (*sip.Message, error) {
	u, sec := r.u, r.u.path.sec
	if sec == nil {
		return u.exchange(t, m)
	}
	if a.keys != nil && sec.fresh != nil {
		a.keys = nil
		sec.announce(m)
		return sec.exchange(t, sec.fresh, m)
	}
	if err := sec.offer(m); err != nil {
		m.Release()
		return nil, err
	}
	if sec.current != nil {
		return sec.exchange(t, sec.current, m)
	}
	return finalResponse(t, func(s siptxn.Responder) error {
		_, err := u.layer.Send(u.path.clear, m, sentBy(u.path.clear), s)
		return err
	})
}

// request builds one REGISTER (TS 24.229 5.1.1.2.1).
func (r *registrar) request(uri string, expires time.Duration, credentials string) *sip.Message {
	u := r.u
	r.current.Contact = "sip:" + r.user + "@" + u.path.local().String() + ";transport=" + u.cfg.Transport.String()
	seconds := strconv.FormatInt(int64(expires/time.Second), 10)
	m := u.pool.NewRequest(sip.REGISTER, uri)
	m.SetString(sip.HdrMaxForwards, "70")
	m.SetString(sip.HdrFrom, "<"+u.impu+">;tag="+r.fromTag)
	m.SetString(sip.HdrTo, "<"+u.impu+">")
	m.SetString(sip.HdrCallID, r.callID)
	m.SetString(sip.HdrCSeq, strconv.FormatUint(uint64(r.seq), 10)+" REGISTER")
	r.seq++
	m.SetString(sip.HdrContact, "<"+r.current.Contact+">;+sip.instance=\"<"+r.instance+">\";"+mmtel+";audio;expires="+seconds)
	m.SetString(sip.HdrExpires, seconds)
	m.SetString(sip.HdrSupported, "path")
	if credentials != "" {
		m.SetString(sip.HdrAuthorization, credentials)
	}
	m.SetString(sip.HdrUserAgent, u.cfg.UserAgent)
	if expires > 0 {
		u.web.ask(m)
	}
	return m
}

// mmtel is the feature tag of multimedia telephony (TS 24.173, TS 24.229 7.9.2).
const mmtel = `+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`

// accept takes a 200 (TS 24.229 5.1.1.2.1).
func (r *registrar) accept(resp *sip.Message, asked time.Duration) error {
	if asked == 0 {
		return nil
	}
	granted, ok := r.granted(resp)
	if !ok || granted == 0 {
		return fmt.Errorf("%w: 200 without our binding", ErrRefused)
	}
	routes, err := addresses(resp, sip.HdrServiceRoute)
	if err != nil {
		return err
	}
	identities, err := addresses(resp, sip.HdrPAssociatedURI)
	if err != nil {
		return err
	}
	r.path = nil
	for v := range resp.Values(sip.HdrPath) {
		if a, err := sip.ParseNameAddr(v); err == nil && len(r.path) < maxAddresses {
			r.path = append(r.path, string(a.URI))
		}
	}
	u := r.u
	u.path.settle()
	u.web.take(resp, u.shard.Now())
	if len(identities) == 0 {
		identities = []string{u.impu}
	}
	r.until, r.losses = u.shard.Now()+granted, 0
	r.change(func(c *Registration) {
		c.State, c.Granted, c.IMPUs, c.ServiceRoute, c.Err = Registered, granted, identities, routes, nil
		c.Protection, c.Scheme, c.Proxy = u.path.protection, u.cfg.Scheme.String(), u.path.proxy()
	})
	r.schedule(refreshAfter(granted))
	return nil
}

// refreshAfter is when to register again: 600 s before the end, or at half the life if that is 1200 s or less
// (TS 24.229 5.1.1.4.1).
func refreshAfter(granted time.Duration) time.Duration {
	if granted > 1200*time.Second {
		return granted - 600*time.Second
	}
	return granted / 2
}

// granted finds our binding among the contacts of a 200; the network may list others of the same user.
func (r *registrar) granted(resp *sip.Message) (time.Duration, bool) {
	own, err := sip.ParseURI([]byte(r.current.Contact))
	if err != nil {
		return 0, false
	}
	for i := range resp.Count(sip.HdrContact) {
		c, err := sip.ParseNameAddr(resp.Nth(sip.HdrContact, i))
		if err != nil {
			continue
		}
		uri, err := sip.ParseURI(c.URI)
		if err != nil || !uri.Equal(&own) {
			continue
		}
		seconds, ok := resp.ContactExpires(i)
		return time.Duration(seconds) * time.Second, ok
	}
	return 0, false
}

// maxAddresses bounds what a 200 may make us remember.
const maxAddresses = 32

// addresses reads the URIs of Service-Route or P-Associated-URI. A malformed one makes the 200 useless: guessing a route is worse.
func addresses(m *sip.Message, h sip.HeaderID) ([]string, error) {
	var list []string
	for v := range m.Values(h) {
		a, err := sip.ParseNameAddr(v)
		if err == nil {
			_, err = sip.ParseURI(a.URI)
		}
		if err != nil || len(list) == maxAddresses {
			return nil, fmt.Errorf("%w: %s in 200: %w", ErrRefused, h, err)
		}
		list = append(list, string(a.URI))
	}
	return list, nil
}

func (r *registrar) schedule(d time.Duration) {
	r.u.shard.Arm(&r.again, d, shard.EventFunc(func(s *shard.Shard) {
		s.Start(func(t *shard.Task) {
			r.turn(t)
			defer r.next()
			if r.wanted {
				_ = r.register(t, r.u.cfg.Expires) // failed has noted it and schedules the next
			}
		})
	}))
}

// failed decides what an attempt that went wrong means. A refresh may be tried again while the binding lives; what the
// network or the card refused for good is not tried again: a UE that goes on against a forger feeds him.
func (r *registrar) failed(err error) {
	r.losses++
	temporary := errors.Is(err, ErrConnect) || errors.Is(err, siptxn.ErrTimeout) || errors.Is(err, siptxn.ErrTransport)
	var status *StatusError
	if errors.As(err, &status) {
		temporary = status.Code == 305 || status.Code == 408 || status.Code == 480 || status.Code >= 500 && status.Code < 600
	}
	if r.u.shard.Now() >= r.until || !temporary {
		r.lost(err)
	}
	if r.wanted && temporary {
		r.schedule(r.backoff(err))
	}
}

// The times of RFC 5626 4.5. A flow that cannot be opened costs nobody anything and tells that the edge is away, for the moment of a restart most
// often: it is tried again soon. A network that answers and cannot, or does not answer, is asked no sooner than the standard's default.
const (
	flowBase    = 2 * time.Second
	networkBase = 30 * time.Second
	maxBackoff  = 30 * time.Minute
)

// backoff is the base time, doubled for each attempt that failed in a row, at most half an hour, and up to half of it less at random (RFC 5626 4.5): a
// thousand clients must not come back as one.
func (r *registrar) backoff(err error) time.Duration {
	base := networkBase
	if errors.Is(err, ErrConnect) || errors.Is(err, siptxn.ErrTransport) {
		base = flowBase
	}
	if wait := r.u.path.barred(); wait > 0 && r.losses < 10 {
		return wait + r.jitter(wait)
	}
	var status *StatusError
	if errors.As(err, &status) && status.Again > 0 && r.losses < 10 { // as it is told (RFC 3261 20.33), and not all in the same moment
		return status.Again + r.jitter(status.Again)
	}
	limit := min(base<<min(max(r.losses-1, 0), 10), maxBackoff)
	return limit/2 + r.jitter(limit/2)
}

// jitter is a random time up to most.
func (r *registrar) jitter(most time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(r.u.cfg.Rand, b[:]); err != nil {
		return most
	}
	part, _ := bits.Mul64(binary.BigEndian.Uint64(b[:]), uint64(most))
	return time.Duration(part)
}

func (r *registrar) lost(err error) {
	r.u.shard.Disarm(&r.again)
	r.change(func(c *Registration) { *c = Registration{Contact: c.Contact, Proxy: c.Proxy, Err: err} })
}

// recovery is how long the first attempt after a loss waits at most: clients of an edge that has just gone do not all come in the same moment.
const recovery = time.Second

// pathLost begins again after the connection is gone, at once (RFC 5626 4.4: flow recovery): the network cannot reach us until we do.
func (r *registrar) pathLost(why error) {
	if r.idle() {
		gone := ErrConnect
		if why != nil {
			gone = fmt.Errorf("%w: %w", ErrConnect, why)
		}
		r.change(func(c *Registration) { c.State, c.Err = Registering, gone })
		r.schedule(r.jitter(recovery))
	}
}

func (r *registrar) change(f func(*Registration)) {
	before := r.current.State
	f(&r.current)
	r.u.log.Info("registration", "state", r.current.State.String(), "before", before.String(), "error", r.current.Err)
	if r.u.cfg.OnRegistration != nil {
		r.u.cfg.OnRegistration(r.snapshot())
	}
}
