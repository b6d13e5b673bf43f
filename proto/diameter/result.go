package diameter

import (
	"fmt"
	"strconv"
)

// Result is a value of Result-Code (RFC 6733 7.1).
type Result uint32

// The results of the base protocol.
const (
	ResultSuccess               Result = 2001
	ResultLimitedSuccess        Result = 2002
	ResultCommandUnsupported    Result = 3001
	ResultUnableToDeliver       Result = 3002
	ResultRealmNotServed        Result = 3003
	ResultTooBusy               Result = 3004
	ResultLoopDetected          Result = 3005
	ResultRedirectIndication    Result = 3006
	ResultApplicationUnsupp     Result = 3007
	ResultInvalidHdrBits        Result = 3008
	ResultInvalidAVPBits        Result = 3009
	ResultUnknownPeer           Result = 3010
	ResultAVPUnsupported        Result = 5001
	ResultUnknownSessionID      Result = 5002
	ResultAuthorizationRejected Result = 5003
	ResultInvalidAVPValue       Result = 5004
	ResultMissingAVP            Result = 5005
	ResultContradictingAVPs     Result = 5007
	ResultAVPNotAllowed         Result = 5008
	ResultAVPOccursTooManyTimes Result = 5009
	ResultNoCommonApplication   Result = 5010
	ResultUnsupportedVersion    Result = 5011
	ResultUnableToComply        Result = 5012
	ResultInvalidAVPLength      Result = 5014
	ResultNoCommonSecurity      Result = 5017
)

var resultNames = map[Result]string{
	ResultSuccess: "success", ResultLimitedSuccess: "limited success", ResultCommandUnsupported: "command unsupported",
	ResultUnableToDeliver: "unable to deliver", ResultRealmNotServed: "realm not served", ResultTooBusy: "too busy",
	ResultLoopDetected: "loop detected", ResultRedirectIndication: "redirect", ResultApplicationUnsupp: "application unsupported",
	ResultInvalidHdrBits: "invalid header bits", ResultInvalidAVPBits: "invalid AVP bits", ResultUnknownPeer: "unknown peer",
	ResultAVPUnsupported: "AVP unsupported", ResultUnknownSessionID: "unknown session", ResultAuthorizationRejected: "authorization rejected",
	ResultInvalidAVPValue: "invalid AVP value", ResultMissingAVP: "missing AVP", ResultContradictingAVPs: "contradicting AVPs",
	ResultAVPNotAllowed: "AVP not allowed", ResultAVPOccursTooManyTimes: "AVP occurs too many times",
	ResultNoCommonApplication: "no common application", ResultUnsupportedVersion: "unsupported version",
	ResultUnableToComply: "unable to comply", ResultInvalidAVPLength: "invalid AVP length", ResultNoCommonSecurity: "no common security",
}

// String returns the result in words, or its number.
func (r Result) String() string {
	if s, ok := resultNames[r]; ok {
		return s
	}
	return "result " + strconv.FormatUint(uint64(r), 10)
}

// Protocol says whether r is a protocol error: such an answer has the E bit and is the business of each hop (RFC 6733 7.1.3).
func (r Result) Protocol() bool { return r >= 3000 && r < 4000 }

// ResultError is a refusal that a peer sent or that an answer shall carry. The detail stays here.
type ResultError struct {
	Result       Result
	Vendor       uint32 // with it Result is an Experimental-Result-Code of that vendor
	FromProtocol bool   // the E bit was set
}

// Error names the result.
func (e *ResultError) Error() string {
	if e.Vendor != 0 {
		return fmt.Sprintf("diameter: experimental result %d of vendor %d", uint32(e.Result), e.Vendor)
	}
	return "diameter: " + e.Result.String()
}

// ResultOf reads Result-Code, or Experimental-Result with its vendor (RFC 6733 7.1, 7.6). ok is false if an answer has
// neither.
func ResultOf(m Message) (r Result, vendor uint32, ok bool) {
	for a := range m.AVPs().All() {
		switch a.ID() {
		case ResultCode:
			v, good := a.Unsigned32()
			return Result(v), 0, good
		case ExperimentalResult:
			code, _ := a.Group().Find(ExperimentalResultCode)
			of, _ := a.Group().Find(VendorID)
			v, good := code.Unsigned32()
			w, _ := of.Unsigned32()
			return Result(v), w, good
		}
	}
	return 0, 0, false
}

// Identities say who we are in every message.
type Identities struct {
	Host, Realm string // Origin-Host and Origin-Realm
}

// AppendError appends the answer to a request that is refused by the base protocol or by an application that has no more to
// say (RFC 6733 7.2): the E bit if it is a protocol error, what the request was for, Result-Code, Failed-AVP.
func AppendError(dst []byte, req Message, us Identities, f Fault) []byte {
	h := req.Header()
	h.Flags &= FlagProxiable
	if f.Result.Protocol() {
		h.Flags |= FlagError
	}
	w := Begin(dst, h)
	if a, ok := req.Find(SessionID); ok && a.sound() {
		w.Octets(SessionID, a.Data)
	}
	w.Unsigned32(ResultCode, uint32(f.Result))
	w.Text(OriginHost, us.Host)
	w.Text(OriginRealm, us.Realm)
	if len(f.Failed) > 0 {
		w.Open(FailedAVP)
		w.Raw(f.Failed)
		w.Close()
	}
	if !f.Result.Protocol() { // then the answer has the form of its command, as far as it goes (RFC 6733 7.1.5)
		for a := range req.AVPs().All() {
			if id := a.ID(); (id == VendorSpecificApplicationID || id == AuthSessionState) && a.sound() {
				w.Raw(a.raw)
			}
		}
	}
	CopyProxyInfo(&w, req)
	b, _ := w.End() // far below the limit: Proxy-Info came in a message within it
	return b
}

// CopyProxyInfo copies what agents want back in the answer, in the same order (RFC 6733 6.2).
func CopyProxyInfo(w *Writer, req Message) {
	for a := range req.AVPs().All() {
		if a.ID() == ProxyInfo && a.sound() {
			w.Raw(a.raw)
		}
	}
}
