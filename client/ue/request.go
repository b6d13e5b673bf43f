package ue

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// exchange is one request and its final response, awaited by a task.
type exchange struct {
	waker    shard.Waker
	response *sip.Message
	err      error
}

// Response implements siptxn.Responder.
func (x *exchange) Response(_ *siptxn.Client, m *sip.Message) {
	if m.Status() < 200 || x.response != nil {
		m.Release()
		return
	}
	x.response = m
	x.waker.Wake()
}

// Failed implements siptxn.Responder.
func (x *exchange) Failed(_ *siptxn.Client, err error) {
	x.err = err
	x.waker.Wake()
}

// exchange sends m, which it takes over, and returns the final response, which the caller releases.
func (u *UE) exchange(t *shard.Task, m *sip.Message) (*sip.Message, error) {
	resp, err := finalResponse(t, func(r siptxn.Responder) error {
		_, err := u.send(m, r)
		return err
	})
	if isGone(err) {
		u.reg.doubts()
	}
	return resp, err
}

// finalResponse starts a client transaction and waits for its end.
func finalResponse(t *shard.Task, start func(siptxn.Responder) error) (*sip.Message, error) {
	x := &exchange{}
	t.Await(func(w shard.Waker) {
		x.waker = w
		if err := start(x); err != nil {
			x.err = err
			w.Wake()
		}
	})
	if x.response != nil {
		return x.response, nil
	}
	return nil, fmt.Errorf("ue: %w", x.err)
}

// send starts a client transaction over the path and takes m over.
func (u *UE) send(m *sip.Message, r siptxn.Responder) (*siptxn.Client, error) {
	if !u.path.open {
		m.Release()
		return nil, ErrConnect
	}
	if u.path.sec != nil {
		set := u.path.sec.current
		set.verify(m)
		return u.layer.Send(u.path.sec.flowFor(set, m), m, set.sentBy(), r)
	}
	if !u.path.flow.Via.Reliable() && siptxn.MustStream(m.Size()+siptxn.ViaRoom, 0) {
		m.Release()
		return nil, ErrTooLarge
	}
	return u.layer.Send(u.path.flow, m, sentBy(u.path.flow), r)
}

// request builds a request outside dialogs, for target: the registered path first (TS 24.229 5.1.2A.1.1: the P-CSCF, then
// Service-Route), the public identity as preference (RFC 3325 9.2), nothing about place or device.
func (u *UE) request(method sip.Method, target, callID, fromTag string, seq uint32) *sip.Message {
	m := u.pool.NewRequest(method, target)
	if !u.plain() {
		m.AppendString(sip.HdrRoute, "<sip:"+u.path.proxy().String()+";transport="+u.cfg.Transport.String()+";lr>")
	}
	for _, r := range u.reg.current.ServiceRoute {
		m.AppendString(sip.HdrRoute, "<"+r+">")
	}
	m.SetString(sip.HdrMaxForwards, "70")
	m.SetString(sip.HdrFrom, "<"+u.defaultIdentity()+">;tag="+fromTag)
	m.SetString(sip.HdrTo, "<"+target+">")
	m.SetString(sip.HdrCallID, callID)
	m.SetString(sip.HdrCSeq, cseq(seq, method))
	if !u.plain() {
		m.SetString(sip.HdrPPreferredIdentity, "<"+u.defaultIdentity()+">")
	}
	m.SetString(sip.HdrUserAgent, u.cfg.UserAgent)
	return m
}

func cseq(seq uint32, method sip.Method) string {
	return strconv.FormatUint(uint64(seq), 10) + " " + method.String()
}

// defaultIdentity is the identity used towards others: the first of the registered set.
func (u *UE) defaultIdentity() string {
	if list := u.reg.current.IMPUs; len(list) > 0 {
		return list[0]
	}
	return u.impu
}

// contact is the Contact value of dialogs.
func (u *UE) contact() string {
	if u.plain() {
		return "<" + u.reg.current.Contact + ">"
	}
	return "<" + u.reg.current.Contact + ">;" + mmtel
}

// checkTarget refuses what is not a SIP or tel URI; headers and passwords in it would be smuggled into the request.
func checkTarget(target string) error {
	uri, err := sip.ParseURI([]byte(target))
	if err != nil || (!uri.IsSIP() && !uri.IsTel()) || uri.Headers != nil || uri.Password != nil || !quotable(target) {
		return fmt.Errorf("%w: %q", ErrURI, target)
	}
	return nil
}

// isEmergency reports whether target is an emergency service: "urn:service:sos", or that and one of its kinds.
func isEmergency(target string) bool {
	kind, is := strings.CutPrefix(target, "urn:service:sos")
	return is && strings.Trim(kind, ".abcdefghijklmnopqrstuvwxyz-") == "" && (kind == "" || kind[0] == '.')
}

// SendMessage sends an instant message (RFC 3428) and returns when it was accepted: nil, *StatusError, ErrURI, ErrNotRegistered,
// ErrTooLarge, siptxn.ErrTimeout. Accepted means that the network or the recipient took it, not that anybody read it.
func (u *UE) SendMessage(ctx context.Context, target, contentType string, body []byte) error {
	if err := checkTarget(target); err != nil {
		return err
	}
	return u.do(ctx, func(t *shard.Task) error {
		callID, tag := u.token(24), u.token(16)
		var a authentication
		credentials := ""
		for seq := uint32(1); ; seq++ {
			if u.reg.current.State != Registered {
				return ErrNotRegistered
			}
			m := u.request(sip.MESSAGE, target, callID, tag, seq)
			if u.cfg.ContactInMessages {
				m.SetString(sip.HdrContact, u.contact())
			}
			m.SetBody(contentType, body)
			if credentials != "" {
				m.SetString(sip.HdrProxyAuthorization, credentials)
			}
			resp, err := u.exchange(t, m)
			if err != nil {
				return err
			}
			credentials, err = u.verdict(&a, resp, "MESSAGE", target)
			resp.Release()
			if err != nil || credentials == "" {
				return err
			}
		}
	})
}

// verdict reads the final response of a request outside dialogs: nil for success, or the credentials to try once more with. Only
// a 407 of the home network is answered, once, and only for a request that opens something: a 401, a 407 to a BYE, or one of
// another realm is how digest leaks are asked for (CVE-2021-41158).
func (u *UE) verdict(a *authentication, resp *sip.Message, method, uri string) (credentials string, err error) {
	switch code := resp.Status(); {
	case code < 300:
		return "", nil
	case code == 407 && a.good+a.bad == 0:
		if credentials, err = u.answer(a, resp, sip.HdrProxyAuthenticate, method, uri); err == nil {
			return credentials, nil
		}
		u.log.Warn("challenge not answered", "error", err)
	}
	u.restores(resp)
	return "", statusError(resp)
}
