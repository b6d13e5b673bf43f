package icscf

import (
	"bytes"
	"errors"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// Serve is the way of a request through the I-CSCF.
func (i *ICSCF) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply {
	if in.Msg.Method() == sip.REGISTER {
		return i.register(x, in)
	}
	return i.terminate(x, in)
}

// register finds the S-CSCF for a REGISTER (TS 24.229 5.3.1.2).
func (i *ICSCF) register(x *hop.Exchange, in hop.Inbound) hop.Reply {
	request, ok := i.authorizationRequest(in)
	if !ok {
		return x.Refuse(in, 400, "")
	}
	answer, err := i.ports.Cx.UserAuthorization(x.Task(), request)
	switch {
	case isNobody(err) && in.Protection != hop.ProtectionYes && in.Protection != hop.ProtectionTLSYes:
		answer = &cx.UserAuthorizationAnswer{} // the S-CSCF says so, as it says it to everybody: no stranger learns who is known here
	case err != nil:
		return comesAgain(x.Refuse(in, registerRefusal(err), ""), err)
	}
	scscf, found := i.selectSCSCF(answer.ServerName, answer.Capabilities)
	if !found {
		return x.Refuse(in, noSCSCF, "")
	}
	if !i.mayReplace(scscf) {
		return i.toSCSCF(x, in, scscf)
	}
	again := in
	again.Msg = in.Msg.Clone()
	r := i.toSCSCF(x, in, scscf)
	if status := r.Status(); !r.Unreached() && status != 480 && status/100 != 3 || status == 305 {
		again.Msg.Release()
		return r
	}
	return i.replace(x, again, request, r)
}

// toSCSCF hands a REGISTER to an S-CSCF.
func (i *ICSCF) toSCSCF(x *hop.Exchange, in hop.Inbound, scscf hop.Name) hop.Reply {
	var uri [256]byte
	in.Msg.SetRequestURI(append(append(uri[:0], "sip:"...), scscf...))
	return x.Forward(scscf, in, nil)
}

// mayReplace reports whether there is another S-CSCF than this one, which is not beside us. Asked for each request to a user of another node, it costs
// a copy of the message.
func (i *ICSCF) mayReplace(scscf hop.Name) bool {
	return i.cfg.Replace && scscf != i.cfg.SCSCFs[0].Name
}

// replace selects another S-CSCF for who was assigned to one that is not there, as the HSS then allows (TS 24.229 5.3.1.3; TS 29.228
// 6.1.1.1, REGISTRATION_AND_CAPABILITIES; TS 23.380 4.2). failed is the answer that says so.
func (i *ICSCF) replace(x *hop.Exchange, in hop.Inbound, request *cx.UserAuthorizationRequest, failed hop.Reply) hop.Reply {
	anew := *request
	anew.Type = cx.RegistrationAndCapabilities
	answer, err := i.ports.Cx.UserAuthorization(x.Task(), &anew)
	if err != nil || request.Type == cx.DeRegistration { // who leaves has left
		in.Msg.Release()
		return failed
	}
	scscf, found := i.selectSCSCF("", answer.Capabilities)
	if !found {
		in.Msg.Release()
		return failed
	}
	failed.Msg.Release()
	return i.toSCSCF(x, in, scscf)
}

// isNobody reports whether the HSS knows of nobody who could register so.
func isNobody(err error) bool {
	return errors.Is(err, cx.ErrUserUnknown) || errors.Is(err, cx.ErrIdentitiesDontMatch) || errors.Is(err, cx.ErrIdentityNotRegistered)
}

// noSCSCF is the answer where no S-CSCF has the mandatory capabilities (TS 24.229 5.3.1.3, 5.3.2.2).
const noSCSCF = 600

// terminate finds the S-CSCF of the called user or service, or the application server of the service (TS 24.229 5.3.2.1).
func (i *ICSCF) terminate(x *hop.Exchange, in hop.Inbound) hop.Reply {
	identities := i.identities(in.Msg.RequestURI())
	if len(identities) == 0 {
		return x.Refuse(in, 416, "")
	}
	called, answer, err := i.locate(x.Task(), identities)
	if err != nil {
		return comesAgain(x.Refuse(in, sessionRefusal(err), ""), err)
	}
	if len(identities) > 1 {
		in.Msg.SetRequestURI([]byte(called))
	}
	if answer.PSIDirectRouting {
		return i.toService(x, in, answer.ServerName)
	}
	scscf, found := i.selectSCSCF(answer.ServerName, answer.Capabilities)
	if !found {
		return x.Refuse(in, noSCSCF, "")
	}
	profileKey(in.Msg, answer.WildcardedIMPU)
	if !i.mayReplace(scscf) || in.Msg.Method() == sip.ACK {
		return i.toServing(x, in, scscf)
	}
	again := in
	again.Msg = in.Msg.Clone()
	r := i.toServing(x, in, scscf)
	if !r.Unreached() || x.Cancelled() {
		again.Msg.Release()
		return r
	}
	return i.restore(x, again, cx.IMPU(called), r)
}

// toServing hands a request for a user or service to an S-CSCF.
func (i *ICSCF) toServing(x *hop.Exchange, in hop.Inbound, scscf hop.Name) hop.Reply {
	in.Msg.Remove(sip.HdrRoute)
	var b [256]byte
	in.Msg.Prepend(sip.HdrRoute, append(append(append(b[:0], "<sip:"...), scscf...), ";lr>"...))
	return x.Forward(scscf, in, nil)
}

// restore selects another S-CSCF for who is called and assigned to one that is not there (TS 23.380 4.3; TS 29.228 6.1.4.1,
// REGISTRATION_AND_CAPABILITIES). That one finds what was registered, and serves him by it. failed is the answer that says that nobody is there; where
// nobody else is, the caller hears that the user is not to be had now (TS 24.229 5.3.2.1).
func (i *ICSCF) restore(x *hop.Exchange, in hop.Inbound, called cx.IMPU, failed hop.Reply) hop.Reply {
	failed.Msg.Release()
	answer, err := i.ports.Cx.LocationInfo(x.Task(), &cx.LocationInfoRequest{IMPU: called, Type: cx.RegistrationAndCapabilities})
	if err != nil {
		return x.Refuse(in, sessionRefusal(err), "")
	}
	scscf, found := i.selectSCSCF("", answer.Capabilities)
	if !found {
		return x.Refuse(in, 480, "")
	}
	return i.toServing(x, in, scscf)
}

// locate asks the HSS for each of the identities until one is known. Somebody's own identity comes before a range that another one of
// them falls into.
func (i *ICSCF) locate(t *shard.Task, identities []string) (called string, answer *cx.LocationInfoAnswer, err error) {
	for _, identity := range identities {
		a, e := i.ports.Cx.LocationInfo(t, &cx.LocationInfoRequest{IMPU: cx.IMPU(identity)})
		switch {
		case errors.Is(e, cx.ErrUserUnknown):
			continue
		case e != nil: // whose it is, his own or by a range, is not said
			if answer == nil {
				err = e
			}
			return called, answer, err
		case a.WildcardedIMPU == "":
			return identity, a, nil
		case answer == nil:
			called, answer = identity, a
		}
	}
	if answer == nil {
		err = cx.ErrUserUnknown
	}
	return called, answer, err
}

// profileKey tells the S-CSCF which range the called identity was found by (RFC 5002; TS 24.229 5.3.2.1), or, by saying nothing, that it is somebody's
// own. Nobody else may have said so.
func profileKey(m *sip.Message, wildcard cx.IMPU) {
	m.Remove(sip.HdrPProfileKey)
	if wildcard == "" {
		return
	}
	var b [512]byte
	m.Set(sip.HdrPProfileKey, append(sip.AppendWildcard(append(b[:0], '<'), string(wildcard)), '>'))
}

// toService sends a request to the application server of a service that has no S-CSCF (TS 23.228 5.7.6). A server outside of this core
// has no way yet.
func (i *ICSCF) toService(x *hop.Exchange, in hop.Inbound, server string) hop.Reply {
	in.Msg.Remove(sip.HdrPProfileKey)
	in.Msg.Remove(sip.HdrRoute)
	name := nameOf(server)
	if !x.Knows([]byte(name)) {
		return x.Refuse(in, 404, "")
	}
	var b [256]byte
	in.Msg.Prepend(sip.HdrRoute, append(append(append(b[:0], "<sip:"...), name...), ";lr>"...))
	return x.Forward(name, in, nil)
}

// authorizationRequest reads a UAR off a REGISTER (TS 29.228 6.1.1.1): the private identity from
// Authorization, or derived from the public one where a client left it out (TS 23.003 13.4B).
func (i *ICSCF) authorizationRequest(in hop.Inbound) (*cx.UserAuthorizationRequest, bool) {
	impu, ok := in.Msg.ToIdentity()
	if !ok {
		return nil, false
	}
	impi, ok := i.privateIdentity(in.Msg, impu)
	if !ok {
		return nil, false
	}
	request := &cx.UserAuthorizationRequest{IMPI: cx.IMPI(impi), IMPU: cx.IMPU(impu),
		VisitedNetworkID: i.cfg.VisitedNetworkID}
	// A token or a quoted string (RFC 7315 5.3); our own P-CSCF names what we are configured with.
	if visited := in.Msg.Get(sip.HdrPVisitedNetworkID); visited != nil && string(visited) != request.VisitedNetworkID {
		request.VisitedNetworkID = string(bytes.Trim(visited, `"`))
	}
	if leaving(in.Msg) {
		request.Type = cx.DeRegistration
	}
	request.Emergency = sip.EmergencyContact(in.Msg)
	return request, true
}

// privateIdentity is the one that a REGISTER names, or the one that follows from impu if it names none and that is allowed.
func (i *ICSCF) privateIdentity(m *sip.Message, impu string) (string, bool) {
	name, err := m.Username()
	if (err == nil || err == sip.ErrMissing) && name == "" && i.cfg.DerivePrivate {
		return sip.DerivedPrivateIdentity(impu)
	}
	return name, err == nil && name != ""
}

// leaving reports whether a REGISTER asks for de-registration (RFC 3261 10.2.2).
func leaving(m *sip.Message) bool {
	if seconds, given := m.ContactExpires(0); given && m.Count(sip.HdrContact) > 0 {
		return seconds == 0
	}
	seconds, given := m.Expires()
	return given && seconds == 0
}

// registerRefusal maps a failed UAR to the answer of a REGISTER (TS 24.229 5.3.1.2).
func registerRefusal(err error) int {
	for _, forbidden := range []error{cx.ErrUserUnknown, cx.ErrIdentitiesDontMatch, cx.ErrRoamingNotAllowed,
		cx.ErrAuthorizationRejected, cx.ErrIdentityNotRegistered} {
		if errors.Is(err, forbidden) {
			return 403
		}
	}
	return 480
}

// comesAgain says when to try again where it is the HSS that could not answer: a 480 (RFC 3261 21.4.18).
func comesAgain(r hop.Reply, err error) hop.Reply {
	if r.Status() == 480 && !isNobody(err) {
		r.Msg.SetString(sip.HdrRetryAfter, retryHSS)
	}
	return r
}

// retryHSS is how long an HSS whose database is away is left alone, in seconds.
const retryHSS = "5"

// sessionRefusal maps a failed LIR to the answer of another request (TS 24.229 5.3.2.1).
func sessionRefusal(err error) int {
	if errors.Is(err, cx.ErrUserUnknown) {
		return 404
	}
	return 480
}
