package pcscf

import (
	"strings"
	"time"

	"imsafe/hop"
	"imsafe/proto/passport"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// alternativeService is the body of a 380 that sends a client to another network for its emergency call (TS 24.229 7.6).
const alternativeService = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
	`<ims-3gpp version="1"><alternative-service><type>emergency</type><reason>nobody answers emergency calls here</reason>` +
	`</alternative-service></ims-3gpp>` + "\n"

// restoringService is the body of a 504 that has a client register anew, since its S-CSCF is not there (TS 24.229 7.6; TS 23.380 4.4).
const restoringService = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
	`<ims-3gpp version="1"><alternative-service><type>restoration</type><reason>who serves the user is not there</reason>` +
	`<action>initial-registration</action></alternative-service></ims-3gpp>` + "\n"

// alternative makes a 380 one that the client acts on.
func (p *PCSCF) alternative(r hop.Reply, client secure.Association) hop.Reply {
	return p.instruct(r, client, alternativeService)
}

// restoration answers in the place of an S-CSCF that cannot be reached (TS 24.229 5.2.6.3; TS 23.380 4.4).
func (p *PCSCF) restoration(x *hop.Exchange, r hop.Reply, client secure.Association) hop.Reply {
	if r.Msg == nil {
		return r
	}
	r.Msg.Release()
	return p.instruct(x.Respond(504, ""), client, restoringService)
}

// instruct puts into a response what the client shall do: it believes what the P-CSCF of its own Path asserts (TS 24.229 5.1.2A.1.6).
func (p *PCSCF) instruct(r hop.Reply, client secure.Association, body string) hop.Reply {
	if r.Msg == nil {
		return r
	}
	var b [192]byte
	r.Msg.Set(sip.HdrPAssertedIdentity, p.appendToken(b[:0], tokenPath, client, string(p.cfg.Name), ""))
	r.Msg.SetBody("application/3gpp-ims+xml", []byte(body))
	return r
}

// unanswered reports whether a final response to an emergency call says that nobody was there to answer it.
func unanswered(status int) bool {
	switch status {
	case 404, 408, 430, 480, 483:
		return true
	}
	return status/100 == 5
}

// The media of an emergency call are anchored where this network knows that the other end can do what the anchor does: where one of its own users
// answers. The call is refused for nothing that the media lack: not for keys in clear, nor for want of a port or of somebody who vouches.

// emergenciesAtHome reports whether a user of this network answers emergency calls.
func (p *PCSCF) emergenciesAtHome() bool {
	_, host, _ := strings.Cut(p.answersEmergencies, "@")
	return host != "" && host == p.cfg.Emergency.Domain
}

// refusal is the status that refuses an offer: of an emergency call none, whose media are left alone then. c.mu is held.
func (c *call) refusal(initial bool, status int) int {
	if !c.urgent || !initial {
		return status
	}
	c.exempt = true
	if session := c.session; session != 0 {
		c.session, c.media = 0, nil
		c.p.calls.mu.Lock()
		delete(c.p.calls.named, session)
		c.p.calls.mu.Unlock()
		c.p.ports.Iq.Release(session)
	}
	return 0
}

// vouchForEmergency signs the media keys of an emergency call, which passes no S-CSCF of the caller: who calls, if he has shown that, and nobody
// otherwise (RFC 8224 4.1). A call that cannot be signed goes on.
func (p *PCSCF) vouchForEmergency(m *sip.Message) {
	to, known := sip.PublicIdentity(m.RequestURI())
	if p.ports.Voucher == nil || p.cfg.Wall == nil || !known {
		return
	}
	t := &passport.PASSporT{Orig: passport.Identity{URI: "sip:anonymous@" + anonymousHost}, Dest: []passport.Identity{passport.IdentityOf(to)},
		Keys: passport.KeysOf(m.Body()), IssuedAt: time.Unix(p.cfg.Wall().Unix(), 0)}
	if who, ok := sip.PublicIdentity(m.Get(sip.HdrPAssertedIdentity)); ok && !wantsAnonymity(m) {
		t.Orig = passport.IdentityOf(who)
	}
	if p.ports.Voucher.Sign(t) == nil {
		m.Append(sip.HdrIdentity, t.AppendIdentity(nil))
	}
}
