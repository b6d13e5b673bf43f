package pcscf

import (
	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// alternativeService is the body of a 380 that sends a client to another network for its emergency call (TS 24.229 7.6).
const alternativeService = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
	`<ims-3gpp version="1"><alternative-service><type>emergency</type><reason>nobody answers emergency calls here</reason>` +
	`</alternative-service></ims-3gpp>` + "\n"

// alternative makes a 380 one that the client acts on: it believes what the P-CSCF of its own Path asserts (TS 24.229 5.1.2A.1.6).
func (p *PCSCF) alternative(r hop.Reply, client secure.Association) hop.Reply {
	if r.Msg == nil {
		return r
	}
	var b [192]byte
	r.Msg.Set(sip.HdrPAssertedIdentity, p.appendToken(b[:0], tokenPath, client, string(p.cfg.Name), ""))
	r.Msg.SetBody("application/3gpp-ims+xml", []byte(alternativeService))
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
