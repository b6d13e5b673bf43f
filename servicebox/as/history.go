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

// tellHistory notes in History-Info that a request for from goes to another target (RFC 7044 9.2, 10.3).
func tellHistory(m *sip.Message, from, to string, cause Cause) {
	if m.Count(sip.HdrHistoryInfo) == 0 {
		m.AppendString(sip.HdrHistoryInfo, "<"+from+">;index=1")
	}
	last := m.Last(sip.HdrHistoryInfo)
	index := indexOf(last)
	value := "<" + withCause(to, cause) + ">;index=" + index + ".1;mp=" + index
	m.AppendString(sip.HdrHistoryInfo, value)
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
		if had, ok := sip.PublicIdentity(v); ok && had == identity {
			return true
		}
	}
	return false
}
