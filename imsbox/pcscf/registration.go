package pcscf

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"imsafe/hop"
	"imsafe/proto/oauth"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// registration is what the P-CSCF keeps of a REGISTER until its answer comes back.
type registration struct {
	association secure.Association
	impi        string
	impu        string // the identity that is registered
	contact     string // URI of the binding, as the client wrote it; "" if the REGISTER names none
	leaving     bool   // this REGISTER removes the binding, or all of them
	stream      bool   // it came over a connection
	tls         bool   // of TLS
	wantsKeys   bool   // it is to be protected by security associations
	jkt         string // thumbprint of the key for which the client wants a code; "": it wants none, or may have none
}

// registrationOf reads what the answer will be needed for, and refuses a REGISTER of a user other than the
// one the association belongs to, or was made in the name of (TS 33.203 7.1 rule 4): one association carries one private identity.
func (p *PCSCF) registrationOf(x *hop.Exchange, in hop.Inbound) (registration, int) {
	reg := registration{association: in.Proof.Association(), impi: cmp.Or(in.Proof.IMPI(), in.Proof.Claimed()), wantsKeys: in.Proof.Profile() == gm.ProfileIPsec}
	if via, err := in.Msg.TopVia(); err == nil {
		reg.stream = !bytes.EqualFold(via.Transport, []byte("UDP"))
		reg.tls = in.Proof.Protected() && bytes.EqualFold(via.Transport, []byte("TLS"))
	}
	if in.Proof.Protected() { // in clear a code would be everybody's
		reg.jkt = wantsCode(in.Msg)
	}
	named, ok := p.privateIdentity(in.Msg)
	if !ok {
		return reg, 400
	}
	if reg.impi != "" && named != "" && reg.impi != named && p.foreignIdentity(in, "other-private-identity") {
		return reg, 403
	}
	reg.impi = cmp.Or(named, reg.impi)
	reg.impu, _ = in.Msg.ToIdentity()
	if reg.impi == "" {
		return reg, 400 // TS 24.229 5.1.1.2: a client names its private identity in every REGISTER
	}
	if string(in.Msg.Get(sip.HdrContact)) == "*" {
		reg.leaving = true // or a mistake, which the S-CSCF refuses
		return reg, 0
	}
	contact, err := in.Msg.Contact(0)
	if err != nil {
		return reg, 0 // a query
	}
	reg.contact = string(contact.URI)
	expires, given := in.Msg.ContactExpires(0)
	reg.leaving = given && expires == 0
	return reg, 0
}

// privateIdentity is the one a REGISTER names or, where that is allowed, the one that follows from its public identity; ""
// if it names none, false if it is malformed.
func (p *PCSCF) privateIdentity(m *sip.Message) (string, bool) {
	name, err := m.Username()
	if named := err != sip.ErrMissing; named && (err != nil || name != "") {
		return name, err == nil
	}
	if !p.cfg.DerivePrivate {
		return "", true
	}
	if _, err := m.To(); err != nil {
		return "", false
	}
	impu, _ := m.ToIdentity()
	impi, _ := sip.DerivedPrivateIdentity(impu)
	return impi, true
}

// addressHome sends a REGISTER to the home network (TS 24.229 5.2.2), whatever its client has written: some know the address of their P-CSCF alone, and
// one that names a function behind the I-CSCF, in another process, would come there past it.
func (p *PCSCF) addressHome(in hop.Inbound) {
	in.Msg.Remove(sip.HdrRoute)
	if !bytes.Equal(in.Msg.RequestURI(), p.homeURI) {
		in.Msg.SetRequestURI(p.homeURI)
	}
}

// nameUser writes the private identity into a REGISTER that has no Authorization: how it is protected stands there too, on its way
// to another process (TS 24.229 7.2A.2).
func (p *PCSCF) nameUser(in hop.Inbound, impi string) {
	if in.Msg.Has(sip.HdrAuthorization) {
		return
	}
	home := []byte("sip:" + string(p.cfg.Home))
	c := sip.Credentials{Username: []byte(impi), Realm: home[len("sip:"):], Nonce: []byte{}, URI: home, Response: []byte{}}
	var b [512]byte
	in.Msg.Set(sip.HdrAuthorization, c.AppendTo(b[:0]))
}

// protection says how the REGISTER came in, as a type (TS 24.229 5.2.2; TS 33.203 6.1.5, X.2). It is the one
// place that sets it, from the door's proof: what a client writes was removed at the door.
func (p *PCSCF) protection(in hop.Inbound) hop.Protection {
	switch claimed := in.Msg.Get(sip.HdrAuthorization); {
	case bytes.Contains(claimed, []byte("integrity-protected")) && !p.refusesFlag(in):
		return claimedProtection(in.Msg) // a lab believes him
	case !in.Proof.Protected():
		return hop.ProtectionNo
	case in.Proof.Generation() != secure.GenerationNone:
		return associationsVouch(in)
	case in.Proof.Registered():
		return hop.ProtectionTLSYes
	default:
		return hop.ProtectionTLSConnected
	}
}

// associationsVouch is protection inside security associations: an answer has to come over those that its challenge made, and a REGISTER
// without one over those of the latest authentication (TS 33.203 6.1.5).
func associationsVouch(in hop.Inbound) hop.Protection {
	c, err := in.Msg.Credentials(0)
	answers := err == nil && len(c.Response) > 0
	switch generation := in.Proof.Generation(); {
	case generation == secure.GenerationNew && answers, generation == secure.GenerationCurrent && !answers:
		return hop.ProtectionYes
	}
	return hop.ProtectionNo
}

// refusesFlag is the enforcement point of "integrity-protected is what the P-CSCF says, never what a client does" (TS 33.203 6.1.5, P.3).
func (p *PCSCF) refusesFlag(in hop.Inbound) bool {
	return p.ports.Gate.Refuse(secure.CIAuthenticationFlag, secure.Event{Reason: "claimed", Subject: in.Proof.IMPI()})
}

// claimedProtection reads what a client claims (TS 24.229 7.2A.2.2).
func claimedProtection(m *sip.Message) hop.Protection {
	c, err := m.Credentials(0)
	switch {
	case err != nil:
		return hop.ProtectionNo
	case string(c.IntegrityProtected) == "yes":
		return hop.ProtectionYes
	case string(c.IntegrityProtected) == "tls-yes":
		return hop.ProtectionTLSYes
	}
	return hop.ProtectionNo
}

// addPath puts this P-CSCF and the client's association into Path (RFC 3327, TS 24.229 5.2.2).
func (p *PCSCF) addPath(in hop.Inbound) {
	var b [192]byte
	params := ""
	if in.Msg.HasToken(sip.HdrSupported, "outbound") {
		params = ";ob" // requests along this entry stay on the client's flow (RFC 5626 5.1)
	}
	in.Msg.Prepend(sip.HdrPath, p.appendToken(b[:0], tokenPath, in.Proof.Association(), string(p.cfg.Name), params))
	if !in.Msg.HasToken(sip.HdrRequire, "path") {
		in.Msg.AppendString(sip.HdrRequire, "path")
	}
}

// addVisitedNetwork names the network the client is in (RFC 7315 4.3).
func (p *PCSCF) addVisitedNetwork(in hop.Inbound) {
	in.Msg.SetString(sip.HdrPVisitedNetworkID, p.cfg.VisitedNetworkID)
}

// challenge hands the session keys of a 401 to the door and lets the challenge go without them, with the door's half of the security
// agreement (TS 33.203 6.1.1, 7.2). A challenge whose keys cannot be installed is never sent.
func (p *PCSCF) challenge(x *hop.Exchange, reg registration, r hop.Reply) hop.Reply {
	keys := r.TakeKeys()
	switch {
	case keys == nil && reg.wantsKeys:
		r.Msg.Release()
		return x.Respond(403, "") // no keys come out of it, so nothing could be protected (TS 33.203 N.1)
	case keys == nil:
		return r // the path needs no keys: AKAv2 over TLS (TS 33.203 X.2.3.3)
	}
	var installed struct {
		securityServer []string
		err            error
	}
	x.Task().Await(func(w shard.Waker) {
		p.ports.Gm.Install(reg.association, keys.CK, keys.IK, func(values []string, failed error) {
			installed.securityServer, installed.err = values, failed
			w.Wake()
		})
	})
	if installed.err != nil {
		r.Msg.Release()
		return refuseInstall(x, installed.err)
	}
	for _, mechanism := range installed.securityServer {
		r.Msg.AppendString(sip.HdrSecurityServer, mechanism)
	}
	return r
}

// refuseInstall answers a REGISTER for which no security associations could be made: a client may try other ports, or wait.
func refuseInstall(x *hop.Exchange, err error) hop.Reply {
	if errors.Is(err, gm.ErrPorts) {
		return x.Respond(400, "") // TS 33.203 7.1 rule 3
	}
	r := x.Respond(500, "")
	if errors.Is(err, gm.ErrFull) {
		r.Msg.SetString(sip.HdrRetryAfter, retryInstall)
	}
	return r
}

// retryInstall is when a client for which there was no room may come again, in seconds.
const retryInstall = "30"

// registered binds the registration to the association and remembers the Service-Route (TS 24.229 5.2.2,
// 200 to REGISTER).
func (p *PCSCF) registered(x *hop.Exchange, reg registration, r hop.Reply) hop.Reply {
	granted := grantedExpires(r.Msg, reg.contact)
	if granted == 0 {
		return r // a query: nothing was bound
	}
	k, _ := p.kept(reg.association)
	k.contact, k.edge = reg.contact, p.ports.Gm.Address(reg.association)
	if reg.tls {
		k.edge = edgeTLS
	}
	if !sip.EmergencyURI([]byte(reg.contact)) { // an emergency registration has no Service-Route, and leaves that of another alone
		k.follow(r.Msg)
	}
	set := associatedIdentities(r.Msg)
	k.replaceSet(reg.impu, set)
	err := p.ports.Gm.Promote(reg.association, gm.Registration{IMPI: reg.impi, IMPUs: k.identities(), Expires: granted})
	if err != nil {
		// The client went away while it registered: nobody is left to hear the answer, and a call
		// will find the flow failed.
		r.Msg.Release()
		return x.Respond(500, "")
	}
	if reg.stream && r.Msg.HasToken(sip.HdrRequire, "outbound") {
		// How long the client may be silent on its connection (RFC 5626 4.4, 5.4). Over datagrams it would ask by STUN, which we do
		// not answer: nothing is promised there.
		r.Msg.SetString(sip.HdrFlowTimer, flowTimer)
	}
	p.keep(reg.association, k)
	p.addCode(reg, set, r.Msg)
	return r
}

// wantsCode reads whether a REGISTER takes a code in its 200 (RFC 3261 20.1: Accept), and for which key.
func wantsCode(m *sip.Message) string {
	for v := range m.Values(sip.HdrAccept) {
		kind, params, _ := bytes.Cut(v, []byte{';'})
		if !bytes.EqualFold(bytes.TrimSpace(kind), []byte(oauth.CodeType)) {
			continue
		}
		if jkt, named := sip.Param(params, oauth.JKT); named {
			return string(jkt)
		}
	}
	return ""
}

// addCode gives a client that asked for it a one-time code, in the name of its default public identity.
func (p *PCSCF) addCode(reg registration, set []string, m *sip.Message) {
	if p.ports.Codes == nil || reg.jkt == "" || len(set) == 0 {
		return
	}
	if body := p.ports.Codes.Code(set[0], reg.jkt); body != nil {
		m.SetBody(oauth.CodeType, body)
	}
}

// flowTimer is Flow-Timer in seconds. The door closes idle connections much later.
const flowTimer = "120"

// deregistered ends the association once its last answer has left (TS 33.203 7.4), unless the binding that went is not the one it
// stands for: a client may end an older one of its own. Where other sets of identities are registered on it, these stay.
func (p *PCSCF) deregistered(reg registration) {
	k, _ := p.kept(reg.association)
	if reg.contact != "" && k.contact != reg.contact {
		return
	}
	if k.replaceSet(reg.impu, nil); len(k.sets) > 0 {
		// An error says that the association is gone: what is kept of it goes the same way.
		if p.ports.Gm.Promote(reg.association, gm.Registration{IMPI: reg.impi, IMPUs: k.identities()}) == nil {
			p.keep(reg.association, k)
		}
		return
	}
	p.ports.Gm.Remove(reg.association, p.cfg.RemoveAfter)
}

// grantedExpires returns the life of the binding contact in a 200 to REGISTER (RFC 3261 10.3 step 8).
func grantedExpires(m *sip.Message, contact string) time.Duration {
	for i := range m.Count(sip.HdrContact) {
		c, err := m.Contact(i)
		if err != nil || string(c.URI) != contact {
			continue
		}
		if seconds, given := m.ContactExpires(i); given {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// associatedIdentities returns the implicit registration set of P-Associated-URI in canonical form, the
// default identity first (RFC 7315 4.1).
func associatedIdentities(m *sip.Message) []string {
	count := m.Count(sip.HdrPAssociatedURI)
	if count == 0 {
		return nil
	}
	impus := make([]string, 0, count)
	for i := range count {
		if impu, ok := sip.PublicIdentity(m.Nth(sip.HdrPAssociatedURI, i)); ok {
			impus = append(impus, impu)
		}
	}
	return impus
}

// kept is what the P-CSCF keeps of a registration.
type kept struct {
	contact string
	edge    string     // the host and port of the client's own entry in Record-Route, or edgeTLS; "": it needs none
	route   []string   // Service-Route, first hop first
	sets    [][]string // the implicit registration sets that are registered, each with its default identity first
	stored  string     // how it stands in the table
}

// identities are those of all sets.
func (k *kept) identities() []string {
	if len(k.sets) == 1 {
		return k.sets[0]
	}
	return slices.Concat(k.sets...)
}

// follow takes the Service-Route of a 200 to REGISTER (TS 24.229 5.2.2), which a refresh leaves as it is.
func (k *kept) follow(m *sip.Message) {
	count := m.Count(sip.HdrServiceRoute)
	same := len(k.route) == count
	for i := range count {
		same = same && k.route[i] == string(m.Nth(sip.HdrServiceRoute, i))
	}
	if same {
		return
	}
	k.route = make([]string, count)
	for i := range k.route {
		k.route[i] = string(m.Nth(sip.HdrServiceRoute, i))
	}
}

// replaceSet puts identities in the place of the set that impu belongs to; none takes that away.
func (k *kept) replaceSet(impu string, identities []string) {
	i := slices.IndexFunc(k.sets, func(set []string) bool {
		return slices.Contains(set, impu) || slices.ContainsFunc(identities, func(id string) bool { return slices.Contains(set, id) })
	})
	switch {
	case len(identities) == 0 && i >= 0:
		k.sets = slices.Delete(k.sets, i, i+1)
	case len(identities) == 0:
	case i >= 0:
		k.sets[i] = identities
	default:
		k.sets = append(k.sets, identities)
	}
}

// edgeTLS is the edge of clients over TLS.
const edgeTLS = "tls"

// keep keeps k of the registration on association a: its contact, its edge, and its route, one entry a line; then its sets,
// each a line that begins with a blank.
func (p *PCSCF) keep(a secure.Association, k kept) {
	var key [associationSize]byte
	var lines [512]byte
	b := append(append(lines[:0], k.contact...), '\n')
	b = append(append(b, k.edge...), '\n')
	for _, v := range k.route {
		b = append(append(b, v...), '\n')
	}
	for _, set := range k.sets {
		for _, impu := range set {
			b = append(append(b, ' '), impu...)
		}
		b = append(b, '\n')
	}
	if string(b) == k.stored {
		return // as mostly when a registration is refreshed
	}
	// The table has no limit, so there is always room.
	_ = p.registrations.Put(associationKey(key[:0], a), b)
}

// kept returns what is kept of the registration on association a.
func (p *PCSCF) kept(a secure.Association) (k kept, found bool) {
	var key [associationSize]byte
	var buf [512]byte
	octets, found := p.registrations.Get(associationKey(key[:0], a), buf[:0])
	if !found {
		return kept{}, false
	}
	room := &struct { // for one hop and one set of one identity, as nearly everybody has them
		route, set [1]string
		sets       [1][]string
	}{}
	k.stored = string(octets)
	text := strings.TrimSuffix(k.stored, "\n")
	k.contact, text, _ = strings.Cut(text, "\n")
	var rest bool
	k.edge, text, rest = strings.Cut(text, "\n")
	for line := ""; rest; {
		line, text, rest = strings.Cut(text, "\n")
		if set, isSet := strings.CutPrefix(line, " "); isSet {
			var impus []string
			if k.sets == nil {
				k.sets, impus = room.sets[:0], room.set[:0]
			}
			k.sets = append(k.sets, slices.AppendSeq(impus, strings.SplitSeq(set, " ")))
		} else {
			if k.route == nil {
				k.route = room.route[:0]
			}
			k.route = append(k.route, line)
		}
	}
	return k, true
}
