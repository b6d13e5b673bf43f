package as

import (
	"strconv"
	"strings"

	"imsafe/proto/sip"
)

// Cause says why a call is diverted: the cause parameter of RFC 4458 2 in the target's URI, with the values of TS 24.604 table 4.5.2.6.2.2.
type Cause int

// The causes.
const (
	CauseNotReachable  Cause = 503 // mobile subscriber not reachable
	CauseNotRegistered Cause = 404
	CauseBusy          Cause = 486
	CauseNoAnswer      Cause = 408
	CauseUnconditional Cause = 302
	CauseDeflected     Cause = 487 // during alerting
	CauseDeflectedNow  Cause = 480 // at once
	CauseTranslated    Cause = 380 // a service number stands for another (RFC 8119)
)

// tellHistory notes in History-Info that a request for from goes to another target (RFC 7044 9.2, 10.3). unseen asks that from is not shown: in
// its own entry, and if that was written by somebody before, for all of them (RFC 7044 10.1.2).
func tellHistory(m *sip.Message, from, to string, cause Cause, unseen bool) {
	switch {
	case m.Has(sip.HdrHistoryInfo) && unseen:
		withhold(m, "history")
	case m.Has(sip.HdrHistoryInfo):
	case unseen && strings.HasPrefix(from, "sip"): // a tel URI has no headers
		m.AppendString(sip.HdrHistoryInfo, "<"+withHeader(from, "Privacy=history")+">;index=1")
	default:
		m.AppendString(sip.HdrHistoryInfo, "<"+from+">;index=1")
		if unseen {
			withhold(m, "history")
		}
	}
	index := indexOf(m.Last(sip.HdrHistoryInfo))
	m.AppendString(sip.HdrHistoryInfo, "<"+withCause(to, cause)+">;index="+index+".1;mp="+index)
}

// withHeader gives a SIP URI a header.
func withHeader(uri, header string) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + header
	}
	return uri + "?" + header
}

// withCause puts the cause into a URI.
func withCause(uri string, cause Cause) string {
	uri, headers, some := strings.Cut(uri, "?")
	uri += ";cause=" + strconv.Itoa(int(cause))
	if some {
		uri += "?" + headers
	}
	return uri
}

func indexOf(entry []byte) string {
	addr, err := sip.ParseNameAddr(entry)
	if err != nil {
		return "1"
	}
	index, ok := addr.Param("index")
	if !ok {
		return "1"
	}
	return string(index)
}

// Diversion is one diversion that a call has behind it.
type Diversion struct {
	Target string // whom it went to, in canonical form
	Cause  Cause
}

// Diversions returns what History-Info tells of diversions so far, the oldest first: entries with a cause.
func (s *Session) Diversions() []Diversion {
	var list []Diversion
	for v := range s.request.Values(sip.HdrHistoryInfo) {
		addr, err := sip.ParseNameAddr(v)
		if err != nil {
			continue
		}
		uri, err := sip.ParseURI(addr.URI)
		if err != nil {
			continue
		}
		cause, has := uri.Param("cause")
		if n, err := strconv.Atoi(string(cause)); has && err == nil {
			list = append(list, Diversion{Target: string(uri.AppendAOR(nil)), Cause: Cause(n)})
		}
	}
	return list
}

// Passed says whether the call was meant for an identity before, by History-Info: to send it there again would be a loop.
func (s *Session) Passed(identity string) bool {
	for v := range s.request.Values(sip.HdrHistoryInfo) {
		if SameIdentity(string(v), identity) {
			return true
		}
	}
	return false
}

// Identity returns the canonical form of a public identity (TS 23.003 13.4), in which Session.Served and Caller are; false for what is none.
func Identity(uri string) (string, bool) { return sip.PublicIdentity([]byte(uri)) }

// SameIdentity says whether two URIs name the same public identity (TS 23.003 13.4).
func SameIdentity(a, b string) bool {
	one, ok := sip.PublicIdentity([]byte(a))
	other, also := sip.PublicIdentity([]byte(b))
	return ok && also && one == other
}
