package scenario

import (
	"slices"
	"strings"
	"testing"

	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// quality are the attributes of preconditions in a description (RFC 3312 4), in order.
func quality(m *sdp.Media) (all []string) {
	for _, a := range m.Other {
		if a.Key == "curr" || a.Key == "des" || a.Key == "conf" {
			all = append(all, a.Key+":"+a.Value)
		}
	}
	return all
}

// TestPrecondition: two handsets that insist on their bearers before anybody is alerted (RFC 3312, RFC 4032; TS 24.229 5.1.3.1, 5.1.4.1) agree on them through
// every function and the anchor: what each says of its bearer arrives as it was said, and the gates follow the directions.
func TestPrecondition(t *testing.T) {
	a := anchor(t, nil)
	none := []string{"a=curr:qos local none", "a=curr:qos remote none", "a=des:qos mandatory local sendrecv", "a=des:qos mandatory remote sendrecv"}
	bobs := append(slices.Clone(none), "a=conf:qos remote sendrecv")
	ready := []string{"a=curr:qos local sendrecv", "a=curr:qos remote none", "a=des:qos mandatory local sendrecv", "a=des:qos mandatory remote sendrecv"}
	both := []string{"a=curr:qos local sendrecv", "a=curr:qos remote sendrecv", "a=des:qos mandatory local sendrecv", "a=des:qos mandatory remote sendrecv"}
	arrived := func(where string, m *sdp.Media, want []string) {
		t.Helper()
		got := quality(m)
		for i := range got {
			got[i] = "a=" + got[i]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", where, got)
		}
	}
	a.alice.Send(sip.INVITE, a.bob.IMPU, body(dtls(4000, "actpass", append([]string{"a=inactive"}, none...)...)), lab.Header("Require", "precondition"), lab.Header("Supported", "100rel"))
	invite := a.bob.Request("INVITE")
	arrived("bob's offer", a.medium(invite), none)
	if !invite.HasToken(sip.HdrRequire, "precondition") {
		t.Error("bob is not asked for preconditions")
	}
	a.bob.Answer(183, body(dtls(5000, "active", append([]string{"a=inactive"}, bobs...)...)), lab.Header("Require", "100rel, precondition"), lab.Header("RSeq", "7"))
	arrived("alice's answer", a.medium(a.alice.Response(183)), bobs)
	a.open(false, false)
	a.acknowledged("7 1 INVITE")

	// Her bearer stands, and so does his.
	a.alice.SendInDialog(sip.UPDATE, body(dtls(4000, "actpass", ready...)))
	arrived("bob's second offer", a.medium(a.bob.Request("UPDATE")), ready)
	a.bob.Answer(200, body(dtls(5000, "active", both...)))
	arrived("alice's second answer", a.medium(a.alice.Response(200)), both)
	a.open(true, true)
	if err := a.bob.AnswerTo("INVITE", 180); err != nil || a.alice.Response(180) == nil {
		t.Fatalf("no 180: %v", err)
	}
	a.establish()
	a.bye()
	a.idle()
}

// TestPrecondition_refused: who cannot do preconditions says so (RFC 3261 8.2.2.3), who cannot meet them too (RFC 3312 8), and the caller is told which.
func TestPrecondition_refused(t *testing.T) {
	for status, edits := range map[int][]lab.Edit{
		420: {lab.Header("Unsupported", "precondition")},
		580: {body([]byte(strings.Replace(string(description(0, "UDP/TLS/RTP/SAVP")), "a=fmtp", "a=des:qos failure local sendrecv\r\na=fmtp", 1)))},
	} {
		a := anchor(t, nil)
		a.alice.Send(sip.INVITE, a.bob.IMPU, body(dtls(4000, "actpass", "a=curr:qos local none", "a=des:qos mandatory local sendrecv")), lab.Header("Require", "precondition"))
		a.bob.Request("INVITE")
		a.bob.Answer(status, edits...)
		m := a.alice.Response(status)
		if m == nil {
			t.Fatalf("alice is not told %d", status)
		}
		if status == 420 && string(m.Get(sip.HdrUnsupported)) != "precondition" {
			t.Errorf("what is not supported: %q", m.Get(sip.HdrUnsupported))
		}
		a.alice.SendInDialog(sip.ACK)
		a.idle()
	}
}
