package scscf

import "testing"

func TestBarred(t *testing.T) {
	routes := Routes{Home: "49", Barred: []string{"+49900", "+979"}, Allowed: []string{"+33", "+499001"},
		Users: map[string][]string{"sip:alice@ims.example": {"+1", "+979"}}}
	for _, c := range []struct {
		identity, number string
		want             bool
	}{
		{"sip:bob@ims.example", "+4930123456", false},
		{"sip:bob@ims.example", "+33123456", false},
		{"sip:bob@ims.example", "+14155550100", true},
		{"sip:bob@ims.example", "+49900223", true},
		{"sip:bob@ims.example", "+499001123", false},
		{"sip:bob@ims.example", "+979123", true},
		{"sip:alice@ims.example", "+979123", false},
		{"sip:alice@ims.example", "+14155550100", false},
		{"sip:alice@ims.example", "+49900223", true},
	} {
		if got := routes.barred(c.identity, c.number); got != c.want {
			t.Errorf("%s dials %s: barred %v", c.identity, c.number, got)
		}
	}
	if (&Routes{}).barred("sip:bob@ims.example", "+979123") {
		t.Error("the zero value bars")
	}
}

func TestNumberIn(t *testing.T) {
	s := &SCSCF{cfg: Config{HomeDomain: "ims.example", Numbering: Numbering{CountryCode: "49", International: "00", National: "0"}}}
	for uri, want := range map[string]string{
		"tel:+979-123":                                             "+979123",
		"tel:00979123;phone-context=ims.example":                   "+979123",
		"tel:123;phone-context=+979":                               "+979123",
		"tel:0900123;phone-context=ims.example":                    "+49900123",
		"sip:+979123@ims.example":                                  "+979123",
		"sip:+979.123@elsewhere.example;user=phone":                "+979123",
		"sip:%2B979123@ims.example;user=phone":                     "+979123",
		"sips:%2b979%31%323@ims.example":                           "+979123",
		"sip:00979123@IMS.example;user=phone":                      "+979123",
		"sip:123;phone-context=+979@ims.example;user=phone":        "+979123",
		"sip:00979123;phone-context=x@ims.example;user=dialstring": "+979123",
		"sip:alice@ims.example":                                    "",
		"sip:00979123@ims.example":                                 "", // a name of digits
		"urn:service:sos":                                          "",
	} {
		if got, _ := s.numberIn([]byte(uri)); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

func FuzzNumberIn(f *testing.F) {
	for _, uri := range []string{"tel:+1", "sip:%2B1@x;user=phone", "tel:1;phone-context=+", "sip:;phone-context=@x"} {
		f.Add([]byte(uri))
	}
	s := &SCSCF{cfg: Config{HomeDomain: "ims.example", Numbering: Numbering{CountryCode: "49", International: "00", National: "0"}}}
	f.Fuzz(func(t *testing.T, uri []byte) {
		if number, ok := s.numberIn(uri); ok && (number == "" || number[0] != '+') {
			t.Errorf("%q: %q", uri, number)
		}
	})
}
