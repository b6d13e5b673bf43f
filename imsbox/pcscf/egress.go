package pcscf

import (
	"bytes"

	"imsafe/hop"
	"imsafe/proto/passport"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// What a client says of itself to the network is not for the other party: in which cell it is, what telephone it is, by which number the
// telephone was made (attacks CI-38). The last function on the way takes it off: the P-CSCF of whoever would learn it. Who answers emergency
// calls may know all of it.

// private is a header that the other party must not see.
type private struct {
	header sip.HeaderID
	kind   string // reason code
}

// towardsCallee are those of requests on their way to a client.
var towardsCallee = []private{
	{sip.HdrPAccessNetworkInfo, "location"}, {sip.HdrCellularNetworkInfo, "location"}, // RFC 7315 5.4, TS 24.229 7.2.15
	{sip.HdrGeolocation, "location"}, {sip.HdrGeolocationRouting, "location"}, // RFC 6442 4.1: for who routes by it
	{sip.HdrUserAgent, "device"}, {sip.HdrServer, "device"}, // RFC 3261 20.41, 20.35
}

// towardsCaller are those of responses.
var towardsCaller = []private{
	{sip.HdrPAccessNetworkInfo, "location"}, {sip.HdrCellularNetworkInfo, "location"},
	{sip.HdrGeolocation, "location"}, {sip.HdrGeolocationError, "location"},
	{sip.HdrServer, "device"}, {sip.HdrUserAgent, "device"},
}

// onDemand are headers of the sender's that the other party sees, unless Privacy asks for one of these words (RFC 3323 4.1, 5.3; RFC 3325 7;
// TS 24.607 4.5.2.4).
var onDemand = []struct {
	header sip.HeaderID
	word   privacy
}{
	{sip.HdrPAssertedIdentity, privacyID | privacyUser}, {sip.HdrIdentity, privacyID | privacyUser}, {sip.HdrReferredBy, privacyID | privacyUser},
	{sip.HdrReplyTo, privacyUser}, {sip.HdrCallInfo, privacyUser}, {sip.HdrOrganization, privacyUser}, {sip.HdrSubject, privacyUser},
	{sip.HdrInReplyTo, privacyUser}, {sip.HdrWarning, privacyUser | privacyHeader}, {sip.HdrDiversion, privacyHistory | privacyHeader},
}

// withholdRequest takes off a request to a client what its sender keeps for himself. What it returns gives the sender his own From back in the
// responses; nil if From stayed.
func (p *PCSCF) withholdRequest(m *sip.Message, d disclosure) (restore hop.Up) {
	if d&allKnown != 0 {
		return nil
	}
	asked := privacyOf(m)
	if d&anonymity != 0 {
		asked |= privacyID
	}
	kind := leaks(m, towardsCallee, asked)
	if kind == "" || !p.refusesDisclosure(kind) {
		return nil
	}
	withhold(m, towardsCallee, asked)
	if method := m.Method(); method == sip.INVITE || method == sip.UPDATE {
		dropLocation(m)
	}
	from, err := m.From()
	if !asked.anonymous() || err != nil || isNobody(from.URI) {
		return nil
	}
	var b [512]byte
	return p.writeFrom(m, append(b[:0], anonymous...), from.Params)
}

// withholdResponse takes off a response to a client what the called party keeps for himself (TS 24.608 4.5.2). It is a hop.Up.
func (p *PCSCF) withholdResponse(r hop.Reply) hop.Reply {
	if r.Msg == nil {
		return r
	}
	asked := privacyOf(r.Msg)
	if kind := leaks(r.Msg, towardsCaller, asked); kind != "" && p.refusesDisclosure(kind) {
		withhold(r.Msg, towardsCaller, asked)
	}
	return r
}

// refusesDisclosure is the enforcement point of "the other party learns nothing of where a client is and what it is, and what Privacy says".
func (p *PCSCF) refusesDisclosure(kind string) bool {
	return p.ports.Gate.Refuse(secure.CIConfidentialityPrivacyEgress, secure.Event{Reason: kind})
}

// leaks returns what kind of thing a message says that the other party must not see; "" if it says nothing of the sort.
func leaks(m *sip.Message, table []private, asked privacy) (kind string) {
	for i := range table {
		if m.Has(table[i].header) {
			return table[i].kind
		}
	}
	switch {
	case asked&^privacyCritical != 0:
		return "privacy"
	case m.NamesDevice():
		return "device"
	case carriesLocation(m):
		return "location"
	case hasPrivateEntry(m):
		return "privacy"
	}
	return ""
}

func withhold(m *sip.Message, table []private, asked privacy) {
	for i := range table {
		m.Remove(table[i].header)
	}
	for i := range onDemand {
		if asked&onDemand[i].word != 0 && !(onDemand[i].header == sip.HdrIdentity && vouchesForNobody(m)) {
			m.Remove(onDemand[i].header)
		}
	}
	if m.NamesDevice() {
		m.DropDevice()
	}
	if m.Has(sip.HdrHistoryInfo) {
		withholdHistory(m, asked)
	}
}

// vouchesForNobody reports whether what vouches for the sender names him as nobody (RFC 8224 4.1): the other party still learns that his
// media keys are signed.
func vouchesForNobody(m *sip.Message) bool {
	for v := range m.Values(sip.HdrIdentity) {
		p, err := passport.ParseIdentity(v)
		if err != nil {
			return false
		}
		who := p.Orig
		if p.Type == passport.Rsp && len(p.Dest) == 1 {
			who = p.Dest[0]
		}
		if !isNobody([]byte(who.URI)) {
			return false
		}
	}
	return true
}

// hideContact puts an address of this P-CSCF in the place of Contact, for who does not want the other party to learn where he is reached (RFC
// 3323 5.1). Requests inside the dialog find him by the token in Route; showContact puts back what he answers to.
func (p *PCSCF) hideContact(m *sip.Message, d disclosure) {
	if d&noContact == 0 || !m.Has(sip.HdrContact) || !p.refusesDisclosure("contact") {
		return
	}
	m.Set(sip.HdrContact, append(append([]byte{'<'}, p.hidden...), '>'))
}

// showContact addresses a request for the hidden Contact to that of the client's registration.
func (p *PCSCF) showContact(m *sip.Message, client secure.Association) {
	if !bytes.Equal(m.RequestURI(), p.hidden) {
		return
	}
	if k, found := p.kept(client); found && k.contact != "" {
		m.SetRequestURI([]byte(k.contact))
	}
}

// isPrivateEntry reports whether an entry of History-Info asks by itself not to be shown (RFC 7044 10.1.2).
func isPrivateEntry(v []byte) bool {
	_, headers, _ := bytes.Cut(v, []byte{'?'})
	return bytes.Contains(bytes.ToLower(headers), []byte("privacy=history"))
}

func hasPrivateEntry(m *sip.Message) bool {
	for v := range m.Values(sip.HdrHistoryInfo) {
		if isPrivateEntry(v) {
			return true
		}
	}
	return false
}

// withholdHistory puts nobody in the place of the entries of History-Info that must not be shown; how many there were stays to be seen (RFC 7044
// 10.1.2).
func withholdHistory(m *sip.Message, asked privacy) {
	all := asked&(privacyHistory|privacyHeader|privacySession) != 0
	var entries [][]byte
	for v := range m.Values(sip.HdrHistoryInfo) {
		entry := bytes.Clone(v)
		if addr, err := sip.ParseNameAddr(v); err == nil && (all || isPrivateEntry(v)) {
			entry = []byte("<sip:anonymous@" + anonymousHost + ">")
			if len(addr.Params) > 0 {
				entry = append(append(entry, ';'), addr.Params...)
			}
		}
		entries = append(entries, entry)
	}
	m.Remove(sip.HdrHistoryInfo)
	for _, entry := range entries {
		m.Append(sip.HdrHistoryInfo, entry)
	}
}

// isNobody reports whether a URI is that of who does not want to be known.
func isNobody(v []byte) bool {
	uri, err := sip.ParseURI(v)
	return err == nil && uri.IsSIP() && bytes.EqualFold(uri.Host, []byte(anonymousHost))
}
