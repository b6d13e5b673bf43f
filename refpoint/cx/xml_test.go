package cx

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// A profile as a foreign HSS writes it: with white space, a schema attribute, and elements in the
// Extensions where TS 29.228 Annex E has them.
const foreignProfile = `<?xml version="1.0" encoding="UTF-8"?>
<IMSSubscription xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="CxDataType_Rel16.xsd">
  <PrivateID>001010000000001@ims.example</PrivateID>
  <ServiceProfile>
    <PublicIdentity>
      <BarringIndication>1</BarringIndication>
      <Identity>sip:001010000000001@ims.example</Identity>
    </PublicIdentity>
    <PublicIdentity>
      <Identity>sip:alice@ims.example</Identity>
      <Extension>
        <IdentityType>0</IdentityType>
        <Extension>
          <DisplayName>Alice &amp; &lt;Bob&gt;</DisplayName>
          <AliasIdentityGroupID>7</AliasIdentityGroupID>
          <Extension>
            <ServicePriorityLevel>0</ServicePriorityLevel>
            <Extension>
              <ExtendedPriority><PriorityNamespace>wps</PriorityNamespace><PriorityLevel>3</PriorityLevel></ExtendedPriority>
              <ExtendedPriority><PriorityNamespace>ets</PriorityNamespace><PriorityLevel>1</PriorityLevel></ExtendedPriority>
              <Extension><MaxNumOfAllowedSimultRegistrations>4</MaxNumOfAllowedSimultRegistrations>
                <Extension><FromALaterRelease>x</FromALaterRelease></Extension></Extension>
            </Extension>
          </Extension>
        </Extension>
      </Extension>
    </PublicIdentity>
    <CoreNetworkServicesAuthorization>
      <SubscribedMediaProfileId>0</SubscribedMediaProfileId>
      <Extension><ListOfServiceIds><ServiceId>urn:urn-7:3gpp-service.ims.icsi.mmtel</ServiceId></ListOfServiceIds></Extension>
    </CoreNetworkServicesAuthorization>
    <InitialFilterCriteria>
      <Priority>20</Priority>
      <ApplicationServer><ServerName>sip:log.ims.example</ServerName></ApplicationServer>
    </InitialFilterCriteria>
    <InitialFilterCriteria>
      <Priority>3</Priority>
      <TriggerPoint>
        <ConditionTypeCNF>1</ConditionTypeCNF>
        <SPT><ConditionNegated>0</ConditionNegated><Group>0</Group><Method>REGISTER</Method>
          <Extension><RegistrationType>0</RegistrationType><RegistrationType>2</RegistrationType></Extension></SPT>
        <SPT><ConditionNegated>true</ConditionNegated><Group>0</Group><Group>1</Group><SessionCase>4</SessionCase></SPT>
        <SPT><Group>1</Group><SIPHeader><Header>Accept-Contact</Header><Content>.*mmtel.*</Content></SIPHeader></SPT>
        <SPT><Group>1</Group><SIPHeader><Header>Event</Header><Content></Content></SIPHeader></SPT>
        <SPT><Group>2</Group><SessionDescription><Line>m</Line></SessionDescription></SPT>
        <SPT><Group>2</Group><RequestURI>conf-.*</RequestURI></SPT>
      </TriggerPoint>
      <ApplicationServer><ServerName>sip:tas.ims.example:5080;transport=tls</ServerName><DefaultHandling>1</DefaultHandling>
        <ServiceInfo>a&lt;b</ServiceInfo>
        <Extension><IncludeRegisterRequest/><IncludeRegisterResponse/></Extension></ApplicationServer>
      <ProfilePartIndicator>0</ProfilePartIndicator>
    </InitialFilterCriteria>
    <Extension><SharedIFCSetID>5</SharedIFCSetID><SharedIFCSetID>9</SharedIFCSetID></Extension>
  </ServiceProfile>
  <ServiceProfile>
    <PublicIdentity><Identity>sip:chat!.*!@ims.example</Identity>
      <Extension><IdentityType>4</IdentityType><Extension><Extension><WildcardedIMPU>sip:chat!.*!@ims.example</WildcardedIMPU></Extension></Extension></Extension></PublicIdentity>
  </ServiceProfile>
  <Extension><IMSI>001010000000001</IMSI>
    <Extension><ReferenceLocationInformation><AccessType>DSL</AccessType><AccessValue>"5"</AccessValue></ReferenceLocationInformation></Extension></Extension>
</IMSSubscription>
`

func wantProfile() *UserProfile {
	return &UserProfile{
		IMPI: "001010000000001@ims.example", IMSI: "001010000000001",
		ReferenceLocation: &ReferenceLocation{AccessType: "DSL", AccessValue: `"5"`},
		ServiceProfiles: []ServiceProfile{{
			PublicIdentities: []PublicIdentity{
				{Identity: "sip:001010000000001@ims.example", Barred: true, ServicePriorityLevel: -1},
				{Identity: "sip:alice@ims.example", DisplayName: "Alice & <Bob>", AliasGroupID: "7", ServicePriorityLevel: 0,
					ExtendedPriorities: []ExtendedPriority{{"wps", "3"}, {"ets", "1"}}, MaxRegistrations: 4},
			},
			SubscribedMediaProfile: 0, AllowedServiceIDs: []string{"urn:urn-7:3gpp-service.ims.icsi.mmtel"},
			Criteria: []InitialFilterCriteria{
				{Priority: 3, Part: PartRegistered,
					Trigger: &TriggerPoint{CNF: true, SPTs: []SPT{
						{Groups: []int{0}, Kind: SPTMethod, Pattern: "REGISTER", Registrations: InitialRegistration | Deregistration},
						{Negated: true, Groups: []int{0, 1}, Kind: SPTSessionCase, Case: OriginatingCDIV},
						{Groups: []int{1}, Kind: SPTSIPHeader, Pattern: "Accept-Contact", Content: ".*mmtel.*", HasContent: true},
						{Groups: []int{1}, Kind: SPTSIPHeader, Pattern: "Event", HasContent: true},
						{Groups: []int{2}, Kind: SPTSessionDescription, Pattern: "m"},
						{Groups: []int{2}, Kind: SPTRequestURI, Pattern: "conf-.*"},
					}},
					Server: ApplicationServer{ServerName: "sip:tas.ims.example:5080;transport=tls", DefaultHandling: SessionTerminated,
						ServiceInfo: "a<b", IncludeRegisterRequest: true, IncludeRegisterResponse: true}},
				{Priority: 20, Server: ApplicationServer{ServerName: "sip:log.ims.example"}},
			},
			SharedIFCSetIDs: []int{5, 9},
		}, {
			PublicIdentities: []PublicIdentity{{Identity: "sip:chat!.*!@ims.example", Type: WildcardedIMPU,
				WildcardedIMPU: "sip:chat!.*!@ims.example", ServicePriorityLevel: -1}},
			SubscribedMediaProfile: -1,
		}},
	}
}

func TestDecodeProfile(t *testing.T) {
	got, err := DecodeProfile([]byte(foreignProfile))
	if err != nil {
		t.Fatal(err)
	}
	if want := wantProfile(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestProfileRoundTrip(t *testing.T) {
	want := wantProfile()
	text := want.AppendXML([]byte("x"))
	if text[0] != 'x' {
		t.Error("AppendXML overwrote the prefix")
	}
	got, err := DecodeProfile(text[1:])
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEmptyExtensionsAreLeftOut(t *testing.T) {
	p := &UserProfile{IMPI: "a@b", ServiceProfiles: []ServiceProfile{{SubscribedMediaProfile: -1,
		PublicIdentities: []PublicIdentity{{Identity: "sip:a@b", ServicePriorityLevel: -1}}}}}
	const want = `<?xml version="1.0" encoding="UTF-8"?><IMSSubscription><PrivateID>a@b</PrivateID><ServiceProfile><PublicIdentity>` +
		`<Identity>sip:a@b</Identity></PublicIdentity></ServiceProfile></IMSSubscription>`
	if got := string(p.AppendXML(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeProfileRefuses(t *testing.T) {
	const head, tail = `<IMSSubscription><PrivateID>a@b</PrivateID><ServiceProfile>`, `</ServiceProfile></IMSSubscription>`
	const id = `<PublicIdentity><Identity>sip:a@b</Identity></PublicIdentity>`
	const as = `<ApplicationServer><ServerName>sip:as</ServerName></ApplicationServer>`
	ifc := func(trigger string) string {
		return head + id + `<InitialFilterCriteria><Priority>1</Priority><TriggerPoint><ConditionTypeCNF>0</ConditionTypeCNF>` +
			trigger + `</TriggerPoint>` + as + `</InitialFilterCriteria>` + tail
	}
	if _, err := DecodeProfile([]byte(ifc(`<SPT><Group>1</Group><Method>INVITE</Method></SPT>`))); err != nil {
		t.Fatalf("the sound twin of the cases below: %v", err)
	}
	for name, doc := range map[string]string{
		"nothing":                        "",
		"not XML":                        "profile",
		"another root":                   "<ShData/>",
		"two roots":                      head + id + tail + "<IMSSubscription/>",
		"a document type":                "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>" + head + id + tail,
		"an entity of its own":           head + `<PublicIdentity><Identity>&e;</Identity></PublicIdentity>` + tail,
		"another encoding":               `<?xml version="1.0" encoding="ISO-8859-1"?>` + head + id + tail,
		"too large":                      head + id + strings.Repeat(" ", MaxProfileSize) + tail,
		"too deep":                       strings.Repeat("<Extension>", 40),
		"too many elements":              head + strings.Repeat("<x/>", limits().Elements) + tail,
		"a text too long":                head + `<PublicIdentity><Identity>` + strings.Repeat("x", limits().Text+1) + `</Identity></PublicIdentity>` + tail,
		"no private identity":            `<IMSSubscription><ServiceProfile>` + id + tail,
		"two private identities":         `<IMSSubscription><PrivateID>c@d</PrivateID>` + head[len("<IMSSubscription>"):] + id + tail,
		"no service profile":             `<IMSSubscription><PrivateID>a@b</PrivateID></IMSSubscription>`,
		"no public identity":             head + tail,
		"no identity in it":              head + `<PublicIdentity/>` + tail,
		"barring twice":                  head + `<PublicIdentity><BarringIndication>1</BarringIndication><BarringIndication>0</BarringIndication><Identity>sip:a@b</Identity></PublicIdentity>` + tail,
		"barring in and out":             head + `<PublicIdentity><Identity>sip:a@b</Identity><Extension><Identity>sip:c@d</Identity></Extension></PublicIdentity>` + tail,
		"barring is not a boolean":       head + `<PublicIdentity><BarringIndication>yes</BarringIndication><Identity>sip:a@b</Identity></PublicIdentity>` + tail,
		"identity type out of range":     head + `<PublicIdentity><Identity>sip:a@b</Identity><Extension><IdentityType>5</IdentityType></Extension></PublicIdentity>` + tail,
		"an unknown element":             head + id + `<Surprise/>` + tail,
		"text between elements":          head + id + `hello` + tail,
		"no priority":                    head + id + `<InitialFilterCriteria>` + as + `</InitialFilterCriteria>` + tail,
		"no server":                      head + id + `<InitialFilterCriteria><Priority>1</Priority></InitialFilterCriteria>` + tail,
		"no condition type":              head + id + `<InitialFilterCriteria><Priority>1</Priority><TriggerPoint><SPT><Group>1</Group><Method>INVITE</Method></SPT></TriggerPoint>` + as + `</InitialFilterCriteria>` + tail,
		"a trigger point without SPT":    ifc(""),
		"an SPT without condition":       ifc(`<SPT><Group>1</Group></SPT>`),
		"an SPT with two conditions":     ifc(`<SPT><Group>1</Group><Method>INVITE</Method><RequestURI>x</RequestURI></SPT>`),
		"an SPT without group":           ifc(`<SPT><Method>INVITE</Method></SPT>`),
		"session case out of range":      ifc(`<SPT><Group>1</Group><SessionCase>5</SessionCase></SPT>`),
		"registration type of INVITE":    ifc(`<SPT><Group>1</Group><Method>INVITE</Method><Extension><RegistrationType>0</RegistrationType></Extension></SPT>`),
		"registration type 3":            ifc(`<SPT><Group>1</Group><Method>REGISTER</Method><Extension><RegistrationType>3</RegistrationType></Extension></SPT>`),
		"an element that does not close": head + id,
	} {
		if p, err := DecodeProfile([]byte(doc)); !errors.Is(err, ErrProfile) || p != nil {
			t.Errorf("%s: profile %v, error %v", name, p, err)
		}
	}
}

func FuzzDecodeProfile(f *testing.F) {
	f.Add([]byte(foreignProfile))
	f.Add(wantProfile().AppendXML(nil))
	f.Add([]byte(`<IMSSubscription><PrivateID>a</PrivateID><ServiceProfile><PublicIdentity><Identity>b</Identity></PublicIdentity></ServiceProfile></IMSSubscription>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := DecodeProfile(doc)
		if err != nil {
			if !errors.Is(err, ErrProfile) {
				t.Errorf("error %v does not wrap ErrProfile", err)
			}
			return
		}
		again, err := DecodeProfile(p.AppendXML(nil))
		if err != nil {
			if len(p.AppendXML(nil)) > MaxProfileSize {
				return // escaping can make it longer
			}
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		if !reflect.DeepEqual(p, again) {
			t.Errorf("%+v\n%+v", p, again)
		}
	})
}

func BenchmarkProfile(b *testing.B) {
	p := wantProfile()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for range b.N {
			buf = p.AppendXML(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		text := p.AppendXML(nil)
		for range b.N {
			if _, err := DecodeProfile(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
