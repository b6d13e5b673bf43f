package cxwire

import (
	"reflect"
	"strings"
	"testing"

	"imsafe/proto/aka"
	d "imsafe/proto/diameter"
	"imsafe/refpoint/cx"
)

// carry encodes and gives the AVPs as the other side gets them.
func carry(t *testing.T, c d.Command, write func(w *d.Writer)) d.AVPs {
	t.Helper()
	w := d.Begin(nil, d.Header{Command: c, Application: d.AppCx})
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

var capabilities = &cx.ServerCapabilities{Mandatory: []uint32{1, 2}, Optional: []uint32{3}, ServerNames: []string{"sip:a", "sip:b"}}

func restored() *cx.RestorationInfo {
	return &cx.RestorationInfo{IMPI: "a@ims", RegistrationTimeOut: 1_800_000_000, AuthScheme: "Digest-AKAv1-MD5",
		Contacts: []cx.RestorationContact{{Path: "<sip:p;lr>", Contact: "<sip:a@b>", InitialCSeq: 7, CallID: "c",
			Subscription: &cx.SubscriptionInfo{CallID: "1", From: "2", To: "3", RecordRoute: "4", Contact: "5"},
			PCSCF:        &cx.SubscriptionInfo{CallID: "6", From: "7", To: "8", RecordRoute: "9", Contact: "10"}}}}
}

func TestCarried_requests(t *testing.T) {
	uar := cx.UserAuthorizationRequest{IMPI: "a@ims", IMPU: "sip:a@ims", VisitedNetworkID: "v", Type: cx.RegistrationAndCapabilities, Emergency: true}
	a, f := decodeUAR(carry(t, d.UAR, func(w *d.Writer) { appendUAR(w, &uar) }))
	want(t, a, f, &uar)

	sar := cx.ServerAssignmentRequest{IMPI: "a@ims", IMPUs: []cx.IMPU{"sip:a@ims", "tel:+1"}, ServerName: "sip:s", Type: cx.AdministrativeDeregistration,
		UserDataAvailable: true, WildcardedIMPU: "sip:!.*!@ims", Restoration: restored(), MultipleRegistration: true, SessionPriority: cx.Priority2,
		PCSCFRestoration: true}
	b, f := decodeSAR(carry(t, d.SAR, func(w *d.Writer) { appendSAR(w, &sar) }))
	want(t, b, f, &sar)

	lir := cx.LocationInfoRequest{IMPU: "tel:+1", Originating: true, Type: cx.RegistrationAndCapabilities, SessionPriority: cx.Priority0}
	c, f := decodeLIR(carry(t, d.LIR, func(w *d.Writer) { appendLIR(w, &lir) }))
	want(t, c, f, &lir)

	mar := cx.MultimediaAuthRequest{IMPI: "a@ims", IMPU: "sip:a@ims", ServerName: "sip:s", Scheme: cx.SchemeDigestAKA, Items: 3,
		Resync: &cx.Resync{RAND: aka.RAND{1, 2}, AUTS: aka.AUTS{3, 13: 4}}}
	e, f := decodeMAR(carry(t, d.MAR, func(w *d.Writer) { appendMAR(w, &mar) }))
	want(t, e, f, &mar)

	rtr := cx.RegistrationTerminationRequest{IMPI: "a@ims", IMPUs: []cx.IMPU{"sip:a@ims"}, AssociatedIdentities: []cx.IMPI{"b@ims"},
		Reason: cx.RemoveSCSCF, ReasonInfo: "moved", ReferenceLocationInfo: true}
	g, f := decodeRTR(carry(t, d.RTR, func(w *d.Writer) { appendRTR(w, &rtr) }))
	want(t, g, f, &rtr)

	ppr := cx.PushProfileRequest{IMPI: "a@ims", Charging: &cx.ChargingInformation{PrimaryECF: "aaa://1", SecondaryECF: "aaa://2",
		PrimaryCCF: "aaa://3", SecondaryCCF: "aaa://4"}, AllowedWAF: []string{"waf"},
		Digest: &cx.DigestAuthenticate{Realm: "ims", Algorithm: aka.SHA256, QOP: "auth", HA1: cx.NewSecretHex("00ff")}}
	h, err := decodePPR(carry(t, d.PPR, func(w *d.Writer) { appendPPR(w, &ppr) }))
	want(t, h, err, &ppr)
}

func TestCarried_answers(t *testing.T) {
	uaa := cx.UserAuthorizationAnswer{Result: cx.ResultSuccess, ServerName: "sip:s", Capabilities: capabilities}
	want(t, decodeUAA(carry(t, d.UAR, func(w *d.Writer) { appendUAA(w, &uaa) }), cx.ResultSuccess), nil, &uaa)

	lia := cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: "sip:s", Capabilities: capabilities, WildcardedIMPU: "sip:!.*!@ims", PSIDirectRouting: true}
	want(t, decodeLIA(carry(t, d.LIR, func(w *d.Writer) { appendLIA(w, &lia) }), cx.ResultSuccess), nil, &lia)

	profile := &cx.UserProfile{IMPI: "a@ims", ServiceProfiles: []cx.ServiceProfile{{SubscribedMediaProfile: -1,
		PublicIdentities: []cx.PublicIdentity{{Identity: "sip:a@ims", ServicePriorityLevel: -1}}}}}
	saa := cx.ServerAssignmentAnswer{Result: cx.ResultSuccess, IMPI: "a@ims", Profile: profile, Charging: &cx.ChargingInformation{PrimaryCCF: "aaa://1"},
		AssociatedIdentities: []cx.IMPI{"a@ims", "b@ims"}, LooseRoute: true, Restoration: []cx.RestorationInfo{*restored()},
		AssociatedRegistered: []cx.IMPI{"b@ims"}, ServerName: "sip:s", WildcardedIMPU: "sip:!.*!@ims", PriviledgedSender: true, AllowedWAF: []string{"waf"}}
	a, err := decodeSAA(carry(t, d.SAR, func(w *d.Writer) { appendSAA(w, &saa) }), cx.ResultSuccess)
	if a.ProfileVersion == 0 {
		t.Error("no version of the profile")
	}
	saa.ProfileVersion = a.ProfileVersion
	want(t, a, err, &saa)

	rta := cx.RegistrationTerminationAnswer{Result: cx.ResultLimitedSuccess, AssociatedIdentities: []cx.IMPI{"b@ims"},
		Emergency: []cx.IdentityPair{{IMPI: "a@ims", IMPU: "sip:a@ims"}}}
	want(t, decodeRTA(carry(t, d.RTR, func(w *d.Writer) { appendRTA(w, &rta) }), cx.ResultLimitedSuccess), nil, &rta)
}

// A group that asks for nothing that we know asks for nothing: any S-CSCF will do (TS 29.229 6.3.4).
func TestCapabilities_none(t *testing.T) {
	for name, group := range map[string]func(w *d.Writer){"empty": func(*d.Writer) {}, "foreign": foreignCapability} {
		uaa := decodeUAA(carry(t, d.UAR, func(w *d.Writer) { w.Open(d.ServerCapabilities); group(w); w.Close() }), cx.ResultSuccess)
		if uaa.Capabilities != nil {
			t.Errorf("%s: %+v", name, uaa.Capabilities)
		}
	}
}

// foreignCapability is an AVP that no standard puts into Server-Capabilities.
func foreignCapability(w *d.Writer) { w.Text(d.UserName, "a@ims") }

// vector is what a card with those keys would make; here only its place on the wire matters.
func vector(n byte) aka.Vector {
	return aka.Vector{RAND: aka.RAND{n}, AUTN: aka.AUTN{n, 15: 1}, XRES: aka.NewRES([]byte{n, 2, 3, 4, 5, 6, 7, 8}), CK: aka.CK{n, 1}, IK: aka.IK{n, 2}}
}

func TestCarried_vectors(t *testing.T) {
	maa := cx.MultimediaAuthAnswer{Result: cx.ResultSuccess, IMPI: "a@ims", IMPU: "sip:a@ims", Items: []cx.AuthDataItem{
		{Algorithm: aka.AKAv1MD5, Vector: vector(1)}, {Algorithm: aka.AKAv2SHA256, Vector: vector(2)},
		{Algorithm: aka.SHA256, Digest: &cx.DigestAuthenticate{Realm: "ims", Algorithm: aka.SHA256, QOP: "auth", HA1: cx.NewSecretHex("ab")}}}}
	avps := carry(t, d.MAR, func(w *d.Writer) { appendMAA(w, &maa) })
	a, err := decodeMAA(avps, cx.ResultSuccess, aka.AKAv1MD5)
	want(t, a, err, &maa)

	// Without a hint the local configuration says which AKA it is; the hint wins.
	a, err = decodeMAA(avps, cx.ResultSuccess, aka.AKAv2MD5)
	if err != nil || a.Items[0].Algorithm != aka.AKAv2MD5 || a.Items[1].Algorithm != aka.AKAv2SHA256 {
		t.Errorf("%v, %v", a, err)
	}
	// TS 29.229 6.3.10, 6.3.11: RAND || AUTN, 32 octets; XRES.
	item, _ := avps.Find(d.SIPAuthDataItem)
	challenge, _ := item.Group().Find(d.SIPAuthenticate)
	if v := maa.Items[0].Vector; len(challenge.Data) != 32 || string(challenge.Data[:16]) != string(v.RAND[:]) || string(challenge.Data[16:]) != string(v.AUTN[:]) {
		t.Errorf("SIP-Authenticate %x", challenge.Data)
	}
}

func TestVectors_in_the_order_of_their_numbers(t *testing.T) {
	avps := carry(t, d.MAR, func(w *d.Writer) {
		for _, n := range []byte{3, 1, 2} {
			appendItem(w, &cx.AuthDataItem{Algorithm: aka.AKAv1MD5, Vector: vector(n)}, uint32(n))
		}
	})
	a, err := decodeMAA(avps, cx.ResultSuccess, aka.AKAv1MD5)
	if err != nil || len(a.Items) != 3 {
		t.Fatal(a, err)
	}
	for i := range a.Items {
		if a.Items[i].Vector.RAND[0] != byte(i+1) {
			t.Errorf("item %d is vector %d", i, a.Items[i].Vector.RAND[0])
		}
	}
}

// An answer that is not whole authenticates nobody.
func TestVectors_refused(t *testing.T) {
	item := func(write func(w *d.Writer)) func(w *d.Writer) {
		return func(w *d.Writer) {
			w.Open(d.SIPAuthDataItem)
			w.Text(d.SIPAuthenticationScheme, "Digest-AKAv1-MD5")
			write(w)
			w.Close()
		}
	}
	sixteen := make([]byte, 16)
	good := func(w *d.Writer) {
		w.Octets(d.SIPAuthenticate, make([]byte, 32))
		w.Octets(d.SIPAuthorization, sixteen[:8])
		w.Octets(d.ConfidentialityKey, sixteen)
		w.Octets(d.IntegrityKey, sixteen)
	}
	if _, err := decodeMAA(carry(t, d.MAR, item(good)), cx.ResultSuccess, aka.AKAv1MD5); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(w *d.Writer){
		"no items": func(*d.Writer) {},
		"no keys": item(func(w *d.Writer) {
			w.Octets(d.SIPAuthenticate, make([]byte, 32))
			w.Octets(d.SIPAuthorization, sixteen[:8])
		}),
		"short challenge": item(func(w *d.Writer) {
			w.Octets(d.SIPAuthenticate, sixteen)
			w.Octets(d.SIPAuthorization, sixteen[:8])
			w.Octets(d.ConfidentialityKey, sixteen)
			w.Octets(d.IntegrityKey, sixteen)
		}),
		"empty XRES": item(func(w *d.Writer) {
			w.Octets(d.SIPAuthenticate, make([]byte, 32))
			w.Octets(d.ConfidentialityKey, sixteen)
			w.Octets(d.IntegrityKey, sixteen)
		}),
		"unknown algorithm": item(func(w *d.Writer) { good(w); w.Text(d.DigestAlgorithm, "AKAv9") }),
		"password for AKA":  item(func(w *d.Writer) { good(w); w.Text(d.DigestAlgorithm, "MD5") }),
		"more than we take": func(w *d.Writer) {
			for range cx.MaxAuthItems + 1 {
				item(good)(w)
			}
		},
	} {
		if a, err := decodeMAA(carry(t, d.MAR, write), cx.ResultSuccess, aka.AKAv1MD5); err == nil || a != nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// Values that the standard does not list are refused with the AVP that has them.
func TestRequests_refused(t *testing.T) {
	enum := func(id d.ID, v int32) func(w *d.Writer) { return func(w *d.Writer) { w.Enumerated(id, v) } }
	for name, c := range map[string]struct {
		f    *d.Fault
		want d.Result
	}{
		"User-Authorization-Type":     {second(decodeUAR(carry(t, d.UAR, enum(d.UserAuthorizationType, 3)))), d.ResultInvalidAVPValue},
		"Server-Assignment-Type":      {second(decodeSAR(carry(t, d.SAR, enum(d.ServerAssignmentType, 14)))), d.ResultInvalidAVPValue},
		"negative":                    {second(decodeSAR(carry(t, d.SAR, enum(d.ServerAssignmentType, -1)))), d.ResultInvalidAVPValue},
		"User-Data-Already-Available": {second(decodeSAR(carry(t, d.SAR, enum(d.UserDataAlreadyAvailable, 2)))), d.ResultInvalidAVPValue},
		"Session-Priority":            {second(decodeLIR(carry(t, d.LIR, enum(d.SessionPriority, 5)))), d.ResultInvalidAVPValue},
		"no scheme":                   {second(decodeMAR(carry(t, d.MAR, func(w *d.Writer) { w.Open(d.SIPAuthDataItem); w.Close() }))), d.ResultMissingAVP},
		"short AUTS": {second(decodeMAR(carry(t, d.MAR, func(w *d.Writer) {
			w.Open(d.SIPAuthDataItem)
			w.Text(d.SIPAuthenticationScheme, "Digest-AKAv1-MD5")
			w.Octets(d.SIPAuthorization, make([]byte, 29))
			w.Close()
		}))), d.ResultInvalidAVPValue},
		"no Reason-Code": {second(decodeRTR(carry(t, d.RTR, func(w *d.Writer) { w.Open(d.DeregistrationReason); w.Close() }))), d.ResultMissingAVP},
	} {
		if c.f == nil || c.f.Result != c.want || len(c.f.Failed) == 0 {
			t.Errorf("%s: %+v", name, c.f)
		}
	}
	if _, err := decodePPR(carry(t, d.PPR, func(w *d.Writer) { w.Text(d.UserData, "<x/>") })); cx.ResultOf(err) != cx.ResultNotSupportedUserData {
		t.Errorf("a profile that is none: %v", err)
	}
}

func second[T any](_ T, f *d.Fault) *d.Fault { return f }

func TestHostOf(t *testing.T) {
	s := &Server{cfg: ServerConfig{Hosts: map[string]string{"sip:a": "named.example"}}}
	for name, want := range map[string]string{"sip:a": "named.example", "sip:scscf.ims.example:5060": "scscf.ims.example", "sip:host.example": "host.example",
		"sip:user@host.example": "", "sip:host.example;lr": "", "sip:host.example:5060;x=y": "", "sips:host.example": "", "host.example": "", "sip:": "", "": ""} {
		if got := s.hostOf(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if s.Push(name) == nil != (want == "") {
			t.Errorf("%q: what is pushed for it goes somewhere: %v", name, want == "")
		}
	}
}

// No pretty-printer shows a key that came over the wire.
func TestVectors_do_not_print(t *testing.T) {
	avps := carry(t, d.MAR, func(w *d.Writer) { appendItem(w, &cx.AuthDataItem{Algorithm: aka.AKAv1MD5, Vector: vector(9)}, 1) })
	a, err := decodeMAA(avps, cx.ResultSuccess, aka.AKAv1MD5)
	if err != nil {
		t.Fatal(err)
	}
	if s := a.Items[0].Vector.String(); !strings.Contains(s, "RAND") || strings.Contains(s, "0901") {
		t.Error(s)
	}
}
