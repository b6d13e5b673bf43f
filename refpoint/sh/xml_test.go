package sh

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"imsafe/refpoint/cx"
)

// What a foreign HSS writes: white space, a schema attribute, elements of other domains, and Extensions where TS 29.328 Annex D has them.
const foreignData = `<?xml version="1.0" encoding="UTF-8"?>
<Sh-Data xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <PublicIdentifiers>
    <IMSPublicIdentity>sip:alice@ims.example</IMSPublicIdentity>
    <IMSPublicIdentity>tel:+15550001</IMSPublicIdentity>
    <MSISDN>15550001</MSISDN>
    <Extension><IdentityType>0</IdentityType><WildcardedPSI>sip:room-!.*!@ims.example</WildcardedPSI>
      <Extension><WildcardedIMPU>sip:pbx-!.*!@ims.example</WildcardedIMPU>
        <Extension><ExtendedMSISDN><MSISDN>15550009</MSISDN><MSISDNType>1</MSISDNType></ExtendedMSISDN></Extension></Extension></Extension>
  </PublicIdentifiers>
  <RepositoryData>
    <ServiceIndication>MMTEL-Services</ServiceIndication>
    <SequenceNumber>65535</SequenceNumber>
    <ServiceData><m:MMTelServices xmlns:m="urn:example:simservs" version="1"> <!-- kept -->
      <m:complete-originating-identity-presentation active="true"/><![CDATA[<raw>]]></m:MMTelServices></ServiceData>
  </RepositoryData>
  <RepositoryData><ServiceIndication>empty</ServiceIndication><SequenceNumber>1</SequenceNumber><ServiceData/></RepositoryData>
  <RepositoryData><ServiceIndication>gone</ServiceIndication><SequenceNumber>7</SequenceNumber></RepositoryData>
  <Sh-IMS-Data>
    <SCSCFName></SCSCFName>
    <IFCs><InitialFilterCriteria><Priority>3</Priority><TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF>
      <SPT><Group>0</Group><Method>INVITE</Method></SPT></TriggerPoint>
      <ApplicationServer><ServerName>sip:as.ims.example</ServerName></ApplicationServer></InitialFilterCriteria></IFCs>
    <IMSUserState>2</IMSUserState>
    <ChargingInformation><PrimaryChargingCollectionFunctionName>aaa://ccf.ims.example</PrimaryChargingCollectionFunctionName></ChargingInformation>
    <Extension><PSIActivation>0</PSIActivation>
      <Extension><DSAI><DSAI-Tag>cfu</DSAI-Tag><DSAI-Value>1</DSAI-Value></DSAI><DSAI><DSAI-Tag>cw</DSAI-Tag><DSAI-Value>0</DSAI-Value></DSAI>
        <Extension><ServicePriorityLevel>1</ServicePriorityLevel></Extension></Extension></Extension>
  </Sh-IMS-Data>
  <CSLocationInformation><VLRNumber><Address>NTk4OTc4</Address></VLRNumber></CSLocationInformation>
  <Extension><Extension><DeletedIdentities><IMSPublicIdentity>sip:old@ims.example</IMSPublicIdentity></DeletedIdentities>
    <Extension><Extension><EPSUserState>4</EPSUserState></Extension></Extension></Extension></Extension>
</Sh-Data>`

func ptr[T any](v T) *T { return &v }

func wantData() *Data {
	return &Data{
		Identifiers: &PublicIdentifiers{IMPUs: []IMPU{"sip:alice@ims.example", "tel:+15550001"}, MSISDNs: []string{"15550001"},
			WildcardedPSI: "sip:room-!.*!@ims.example", WildcardedIMPU: "sip:pbx-!.*!@ims.example"},
		Repository: []RepositoryData{
			{"MMTEL-Services", 65535, []byte(`<m:MMTelServices xmlns:m="urn:example:simservs" version="1"> <!-- kept -->
      <m:complete-originating-identity-presentation active="true"/><![CDATA[<raw>]]></m:MMTelServices>`)},
			{"empty", 1, []byte{}}, {"gone", 7, nil}},
		IMS: &IMSData{SCSCFName: ptr(""), UserState: ptr(RegisteredUnregServices), PSIActivation: ptr(false),
			Criteria: &[]cx.InitialFilterCriteria{{Priority: 3, Server: cx.ApplicationServer{ServerName: "sip:as.ims.example"},
				Trigger: &cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{{Groups: []int{0}, Kind: cx.SPTMethod, Pattern: "INVITE"}}}}},
			Charging: &cx.ChargingInformation{PrimaryCCF: "aaa://ccf.ims.example"}, DSAI: []DSAI{{"cfu", false}, {"cw", true}}},
		Deleted: []IMPU{"sip:old@ims.example"},
	}
}

func TestDecodeData(t *testing.T) {
	got, err := DecodeData([]byte(foreignData))
	if err != nil {
		t.Fatal(err)
	}
	if want := wantData(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDataRoundTrip(t *testing.T) {
	want := wantData()
	text := want.AppendXML([]byte("x"))
	if text[0] != 'x' {
		t.Error("AppendXML overwrote the prefix")
	}
	got, err := DecodeData(text[1:])
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEmptyPartsAreLeftOut(t *testing.T) {
	d := &Data{IMS: &IMSData{SCSCFName: ptr(""), Criteria: &[]cx.InitialFilterCriteria{}}}
	const want = `<?xml version="1.0" encoding="UTF-8"?><Sh-Data><Sh-IMS-Data><SCSCFName></SCSCFName><IFCs></IFCs></Sh-IMS-Data></Sh-Data>`
	if got := string(d.AppendXML(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// repository makes a document with one set of transparent data.
func repositoryData(content string) string {
	return `<Sh-Data><RepositoryData><ServiceIndication>s</ServiceIndication><SequenceNumber>0</SequenceNumber>` + content + `</RepositoryData></Sh-Data>`
}

func TestDecodeDataRefuses(t *testing.T) {
	ims := func(content string) string { return `<Sh-Data><Sh-IMS-Data>` + content + `</Sh-IMS-Data></Sh-Data>` }
	if _, err := DecodeData([]byte(repositoryData(`<ServiceData><a/></ServiceData>`))); err != nil {
		t.Fatalf("the sound twin of the cases below: %v", err)
	}
	for name, doc := range map[string]string{
		"nothing":                         "",
		"another root":                    "<IMSSubscription/>",
		"another namespace":               `<Sh-Data xmlns="urn:x"/>`,
		"two roots":                       "<Sh-Data/><Sh-Data/>",
		"a document type":                 "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><Sh-Data/>",
		"a document type inside":          repositoryData(`<ServiceData><!DOCTYPE x></ServiceData>`),
		"an entity of its own":            repositoryData(`<ServiceData>&e;</ServiceData>`),
		"another encoding":                `<?xml version="1.0" encoding="UTF-16"?><Sh-Data/>`,
		"a processing instruction":        repositoryData(`<ServiceData><?php evil ?></ServiceData>`),
		"one before the root":             `<?xml-stylesheet href="x"?><Sh-Data/>`,
		"too large":                       "<Sh-Data>" + strings.Repeat(" ", MaxDataSize) + "</Sh-Data>",
		"too deep":                        strings.Repeat("<Extension>", 60),
		"too deep inside":                 repositoryData(`<ServiceData>` + strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40) + `</ServiceData>`),
		"too many elements":               "<Sh-Data><Extension>" + strings.Repeat("<x/>", limits().Elements) + "</Extension></Sh-Data>",
		"a text too long":                 ims("<SCSCFName>" + strings.Repeat("x", limits().Text+1) + "</SCSCFName>"),
		"an unknown element":              "<Sh-Data><Surprise/></Sh-Data>",
		"text between elements":           "<Sh-Data>hello<Sh-IMS-Data/></Sh-Data>",
		"IMS data twice":                  "<Sh-Data><Sh-IMS-Data/><Sh-IMS-Data/></Sh-Data>",
		"service data twice":              repositoryData(`<ServiceData/><ServiceData/>`),
		"service data elsewhere":          repositoryData(`<x:ServiceData xmlns:x="urn:x">a</x:ServiceData>`),
		"a prefix from outside":           `<Sh-Data xmlns:p="urn:p">` + repositoryData(`<ServiceData><p:a/></ServiceData>`)[len("<Sh-Data>"):],
		"a prefix on service data":        repositoryData(`<ServiceData xmlns:p="urn:p"><p:a/></ServiceData>`),
		"a prefix of an attribute":        repositoryData(`<ServiceData><a p:b="1"/></ServiceData>`),
		"an attribute twice":              repositoryData(`<ServiceData><a b="1" b="2"/></ServiceData>`),
		"no service indication":           `<Sh-Data><RepositoryData><SequenceNumber>0</SequenceNumber></RepositoryData></Sh-Data>`,
		"no sequence number":              `<Sh-Data><RepositoryData><ServiceIndication>s</ServiceIndication></RepositoryData></Sh-Data>`,
		"a sequence number too large":     `<Sh-Data><RepositoryData><ServiceIndication>s</ServiceIndication><SequenceNumber>65536</SequenceNumber></RepositoryData></Sh-Data>`,
		"a negative sequence number":      `<Sh-Data><RepositoryData><ServiceIndication>s</ServiceIndication><SequenceNumber>-1</SequenceNumber></RepositoryData></Sh-Data>`,
		"a user state out of range":       ims(`<IMSUserState>4</IMSUserState>`),
		"PSI activation out of range":     ims(`<Extension><PSIActivation>2</PSIActivation></Extension>`),
		"a DSAI without value":            ims(`<Extension><Extension><DSAI><DSAI-Tag>a</DSAI-Tag></DSAI></Extension></Extension>`),
		"a DSAI without tag":              ims(`<Extension><Extension><DSAI><DSAI-Value>0</DSAI-Value></DSAI></Extension></Extension>`),
		"an MSISDN with a plus":           `<Sh-Data><PublicIdentifiers><MSISDN>+1555</MSISDN></PublicIdentifiers></Sh-Data>`,
		"a criterion without a server":    ims(`<IFCs><InitialFilterCriteria><Priority>1</Priority></InitialFilterCriteria></IFCs>`),
		"an element where text should be": ims(`<SCSCFName><x/></SCSCFName>`),
		"an element that does not close":  "<Sh-Data><Sh-IMS-Data>",
	} {
		if d, err := DecodeData([]byte(doc)); !errors.Is(err, ErrData) || d != nil {
			t.Errorf("%s: data %+v, error %v", name, d, err)
		}
	}
}

func TestCheckServiceData(t *testing.T) {
	for _, good := range []string{"", "text", "<a/>", `<a xmlns:p="urn:p" p:x="1"><p:b/></a>`, "<!-- c --><a>&lt;&#65;</a>"} {
		if err := CheckServiceData([]byte(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"<a>", "</ServiceData>", "</ServiceData><ServiceData>", "</ServiceData></RepositoryData><RepositoryData><ServiceData>",
		"<a/></ServiceData><SequenceNumber>7</SequenceNumber><ServiceData>", "&", "<a b=1/>", "\x00", "\xff", "<p:a/>"} {
		if err := CheckServiceData([]byte(bad)); !errors.Is(err, ErrData) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzDecodeData(f *testing.F) {
	f.Add([]byte(foreignData))
	f.Add(wantData().AppendXML(nil))
	f.Add([]byte(repositoryData(`<ServiceData><a b="&amp;"><![CDATA[]]></a></ServiceData>`)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := DecodeData(doc)
		if err != nil {
			if !errors.Is(err, ErrData) {
				t.Errorf("error %v does not wrap ErrData", err)
			}
			return
		}
		for _, r := range d.Repository {
			if err := CheckServiceData(r.ServiceData); err != nil {
				t.Errorf("what was read cannot be stored: %v", err)
			}
		}
		text := d.AppendXML(nil)
		again, err := DecodeData(text)
		if err != nil {
			if len(text) > MaxDataSize {
				return // escaping can make it longer
			}
			t.Fatalf("what was decoded does not decode again: %v in %s", err, text)
		}
		if !reflect.DeepEqual(d, again) {
			t.Errorf("%+v\n%+v", d, again)
		}
	})
}

func BenchmarkData(b *testing.B) {
	d := wantData()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = d.AppendXML(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		text := d.AppendXML(nil)
		for b.Loop() {
			if _, err := DecodeData(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
