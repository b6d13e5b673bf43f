package shwire

import (
	"reflect"
	"testing"

	d "imsafe/proto/diameter"
	"imsafe/refpoint/sh"
)

// carry encodes and gives the AVPs as the other side gets them.
func carry(t *testing.T, c d.Command, write func(w *d.Writer)) d.AVPs {
	t.Helper()
	w := d.Begin(nil, d.Header{Command: c, Application: d.AppSh})
	write(&w)
	b, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if f := m.Check(nil); f != nil {
		t.Fatal(f)
	}
	return m.AVPs()
}

func want[T any](t *testing.T, got T, problem any, wanted T) {
	t.Helper()
	if v := reflect.ValueOf(problem); problem != nil && !(v.Kind() == reflect.Pointer && v.IsNil()) {
		t.Fatal(problem)
	}
	if !reflect.DeepEqual(got, wanted) {
		t.Errorf("%+v\nwant %+v", got, wanted)
	}
}

func document() *sh.Data {
	return &sh.Data{Repository: []sh.RepositoryData{{ServiceIndication: "d", SequenceNumber: 7, ServiceData: []byte("<a/>")}}}
}

func TestCarried(t *testing.T) {
	k := sh.Key{Reference: sh.RefDSAI, ServiceIndication: "d", ServerName: "sip:as", DSAITag: "t", IdentitySet: sh.ImplicitIdentities}
	pull := k
	pull.Domain, pull.CurrentLocation = sh.CSDomain, true
	udr := sh.UserDataRequest{User: sh.UserIdentity{Public: "sip:a@ims"}, IMPI: "a@ims", Key: pull}
	a, f := decodeUDR(carry(t, d.UDR, func(w *d.Writer) { appendUDR(w, &udr) }))
	want(t, a, f, &udr)
	uda := sh.UserDataAnswer{Data: document(), WildcardedPSI: "sip:!.*!@ims"}
	b, err := decodeUDA(carry(t, d.UDR, func(w *d.Writer) { appendUDA(w, &uda) }))
	want(t, b, err, &uda)
	pur := sh.ProfileUpdateRequest{User: sh.UserIdentity{MSISDN: "15550001"}, Reference: sh.RefRepositoryData, Data: document()}
	c, f := decodePUR(carry(t, d.PUR, func(w *d.Writer) { appendPUR(w, &pur) }))
	want(t, c, f, &pur)
	snr := sh.SubscribeNotificationsRequest{User: sh.UserIdentity{MSISDN: "155500011"}, Key: k, Unsubscribe: true, SendData: true,
		ExpiryTime: 1_800_000_000, OneTime: true}
	e, f := decodeSNR(carry(t, d.SNR, func(w *d.Writer) { appendSNR(w, &snr) }))
	want(t, e, f, &snr)
	sna := sh.SubscribeNotificationsAnswer{Data: document(), ExpiryTime: 1_800_000_000, WildcardedIMPU: "sip:!.*!@ims"}
	g, err := decodeSNA(carry(t, d.SNR, func(w *d.Writer) { appendSNA(w, &sna) }))
	want(t, g, err, &sna)
	pnr := sh.PushNotificationRequest{User: sh.UserIdentity{Public: "sip:a@ims"}, Data: document(), WildcardedPSI: "sip:!.*!@ims"}
	h, f, err := decodePNR(carry(t, d.PNR, func(w *d.Writer) { appendPNR(w, &pnr) }))
	if f != nil {
		t.Fatal(f)
	}
	want(t, h, err, &pnr)
}

// TS 29.329 6.3.2: the first digit in the lower half, 1111 behind an odd number.
func TestMSISDN(t *testing.T) {
	if b := appendTBCD(nil, "155500011"); string(b) != "\x51\x55\x00\x10\xf1" {
		t.Errorf("% x", b)
	}
	for _, s := range []string{"1", "12", "123456789012345"} {
		if got := parseTBCD(appendTBCD(nil, s)); got != s {
			t.Errorf("%s became %q", s, got)
		}
	}
	for _, bad := range []string{"", "\xf1\x21", "\x1a", "\xa1", "\x0f", "\x11\x11\x11\x11\x11\x11\x11\x11", "\x11\x11\x11\x11\x11\x11\x11\x11\x11"} {
		if got := parseTBCD([]byte(bad)); got != "" {
			t.Errorf("% x is read as %s", bad, got)
		}
	}
}

func TestRefused(t *testing.T) {
	user := func(write func(w *d.Writer)) func(w *d.Writer) {
		return func(w *d.Writer) { w.Open(d.UserIdentity); write(w); w.Close(); w.Enumerated(d.DataReference, 0) }
	}
	for name, c := range map[string]struct {
		write func(w *d.Writer)
		want  d.Result
	}{
		"nobody": {user(func(*d.Writer) {}), d.ResultMissingAVP},
		"two identities": {user(func(w *d.Writer) { w.Text(d.PublicIdentity, "sip:a@b"); w.Text(d.PublicIdentity, "sip:c@d") }),
			d.ResultAVPOccursTooManyTimes},
		"an identity and a number": {user(func(w *d.Writer) { w.Text(d.PublicIdentity, "sip:a@b"); w.Octets(d.MSISDN, []byte{0x21}) }),
			d.ResultAVPOccursTooManyTimes},
		"a number that is none": {user(func(w *d.Writer) { w.Octets(d.MSISDN, []byte{0xee}) }), d.ResultInvalidAVPValue},
		"an unknown reference": {func(w *d.Writer) {
			appendUser(w, sh.UserIdentity{Public: "sip:a@b"})
			w.Enumerated(d.DataReference, 20)
		}, d.ResultInvalidAVPValue},
		"a reference beyond": {func(w *d.Writer) {
			appendUser(w, sh.UserIdentity{Public: "sip:a@b"})
			w.Enumerated(d.DataReference, 256)
		}, d.ResultInvalidAVPValue},
		"an unknown set": {func(w *d.Writer) {
			appendUser(w, sh.UserIdentity{Public: "sip:a@b"})
			w.Enumerated(d.DataReference, 10)
			w.Enumerated(d.IdentitySet, 4)
		}, d.ResultInvalidAVPValue},
	} {
		if r, f := decodeUDR(carry(t, d.UDR, c.write)); f == nil || f.Result != c.want {
			t.Errorf("%s: %+v, %v", name, r, f)
		}
	}
}

// An application server may send three commands of Sh, and nothing that Sh does not have.
func TestRoleAS(t *testing.T) {
	r := RoleAS()
	if len(r.Requests) != 1 || len(r.Requests[d.AppSh]) != 3 {
		t.Errorf("%+v", r.Requests)
	}
	for _, id := range []d.ID{d.SIPAuthDataItem, d.ConfidentialityKey, d.UserData, d.ServerAssignmentType, d.AcctSessionID} {
		if r.AVPs[id] {
			t.Errorf("%v may be sent", id)
		}
	}
	for _, id := range []d.ID{d.UserIdentity, d.ShUserData, d.DataReference, d.SessionID, d.OriginHost, d.RouteRecord} {
		if !r.AVPs[id] {
			t.Errorf("%v may not be sent", id)
		}
	}
}

// FuzzMessages: whatever AVPs come, in a form that Check lets through, no decoder panics, and what it read can be sent on.
func FuzzMessages(f *testing.F) {
	seed := func(write func(w *d.Writer)) {
		var w d.Writer
		write(&w)
		f.Add(w.Bytes())
	}
	seed(func(w *d.Writer) {
		appendUDR(w, &sh.UserDataRequest{User: sh.UserIdentity{MSISDN: "155"}, Key: sh.Key{Reference: sh.RefLocationInformation, Domain: sh.PSDomain}})
	})
	seed(func(w *d.Writer) {
		appendPUR(w, &sh.ProfileUpdateRequest{User: sh.UserIdentity{Public: "sip:a"}, Data: document()})
	})
	seed(func(w *d.Writer) {
		appendSNR(w, &sh.SubscribeNotificationsRequest{User: sh.UserIdentity{Public: "sip:a"}, ExpiryTime: 7, OneTime: true})
	})
	f.Fuzz(func(t *testing.T, avps []byte) {
		w := d.Begin(nil, d.Header{Command: d.UDR, Application: d.AppSh})
		w.Raw(avps)
		b, err := w.End()
		if err != nil {
			return
		}
		m, err := d.Parse(b)
		if err != nil || m.Check(nil) != nil {
			return
		}
		v := m.AVPs()
		_ = app.Knows(m)
		if r, f := decodeUDR(v); f == nil {
			again, f := decodeUDR(carry(t, d.UDR, func(w *d.Writer) { appendUDR(w, r) }))
			want(t, again, f, r)
		}
		if r, f := decodePUR(v); f == nil {
			_, f = decodePUR(carry(t, d.PUR, func(w *d.Writer) { appendPUR(w, r) }))
			want(t, f, nil, nil)
		}
		if r, f := decodeSNR(v); f == nil {
			r.Domain, r.CurrentLocation = sh.NoDomain, false
			again, f := decodeSNR(carry(t, d.SNR, func(w *d.Writer) { appendSNR(w, r) }))
			want(t, again, f, r)
		}
		_, _ = decodeUDA(v)
		_, _ = decodeSNA(v)
		_, _, _ = decodePNR(v)
	})
}
