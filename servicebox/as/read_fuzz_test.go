package as

import (
	"math/rand/v2"
	"strings"
	"testing"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// fuzzManifest is one that is good enough.
const fuzzManifest = `manifest = 1
service  = "fuzz"
provider = "example"
domain   = "ims.example"
endpoint = "sips:fuzz.as.ims.example:5061"
scopes   = ["session.proxy"]
limits   = { cps = 1, sessions = 1 }
expires  = 2099-12-31
`

// FuzzRead gives what a service reads by itself to whoever may have written it: other services, clients, other networks.
func FuzzRead(f *testing.F) {
	for _, s := range [][4]string{
		{`399 fuzz.as.ims.example "is.authorization.manifest scope=session.redirect"`, "<sip:bob@ims.example;cause=486?Privacy=history>;index=1.1", "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"},
		{`399 fuzz.as.ims.example "is.`, "<tel:+1>;index=", "application/dtmf-relay;x", "signal="},
		{`"`, "sip:", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	svc, err := InProcess(Parts{Manifest: []byte(fuzzManifest), Clock: shard.RealClock(), Rand: rand.NewChaCha8([32]byte{})})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, warning, history, kind, body string) {
		for _, v := range []string{warning, history, kind} {
			if strings.ContainsAny(v, "\r\n\x00") {
				return // no header field can have it
			}
		}
		request := svc.pool.NewRequest(sip.INVITE, "sip:bob@ims.example")
		defer request.Release()
		request.SetString(sip.HdrHistoryInfo, history)
		request.SetString(sip.HdrPServedUser, history)
		request.SetString(sip.HdrPAssertedIdentity, history)
		request.SetString(sip.HdrContact, history)
		request.SetBody(kind, []byte(body))
		answer := svc.pool.NewResponse(request, 403, "")
		defer answer.Release()
		answer.SetString(sip.HdrWarning, warning)
		answer.SetString(sip.HdrContact, history)

		x := &Session{svc: svc, request: request, Called: "sip:bob@ims.example"}
		x.serves(request)
		x.Diversions()
		x.Passed("sip:bob@ims.example")
		tellHistory(request, x.Called, "sip:carol@ims.example", CauseBusy, true)
		if n := request.Count(sip.HdrHistoryInfo); n < 2 {
			t.Errorf("%d entries of history", n)
		}
		if e := told(request); e.Digit != 0 && (e.Digit <= ' ' || e.Digit == '\r') {
			t.Errorf("digit %q", e.Digit)
		}
		if err := svc.denial(answer); err != nil && !strings.Contains(warning, "fuzz.as.ims.example") {
			t.Errorf("%v of %q", err, warning)
		}
		answer.SetStatus(302, "")
		if e := svc.outcome(answer, &branch{}); e.Contact != "" && CheckTarget(e.Contact) != nil {
			t.Errorf("sends to %q", e.Contact)
		}
		Decline([]byte(body))
		Keying([]byte(body))
	})
}
