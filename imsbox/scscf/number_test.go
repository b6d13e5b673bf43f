package scscf

import (
	"testing"

	"imsafe/proto/sip"
)

func TestNormalise(t *testing.T) {
	germany := Numbering{CountryCode: "49", International: "00", National: "0", Area: "30"}
	america := Numbering{CountryCode: "1", International: "011", Area: "212"}
	cases := []struct {
		name  string
		rules Numbering
		uri   string
		want  string // "" = as it was
	}{
		{"global_stays", germany, "tel:+49-30-1234567", ""},
		{"international_prefix", germany, "tel:0014155550100;phone-context=ims.example", "tel:+14155550100"},
		{"national_prefix", germany, "tel:0301234567;phone-context=ims.example", "tel:+49301234567"},
		{"subscriber_number", germany, "tel:123-4567;phone-context=ims.example", "tel:+49301234567"},
		{"context_with_separators", Numbering{}, "tel:7042;phone-context=+1-201-555", "tel:+12015557042"},
		{"context_is_a_global_prefix", Numbering{}, "tel:7042;phone-context=+1201555", "tel:+12015557042"},
		{"context_of_others", germany, "tel:0301234567;phone-context=other.example", ""},
		{"context_of_a_part_of_the_network", germany, "tel:0301234567;phone-context=geo-local.ims.example", "tel:+49301234567"},
		{"sip_user_phone", germany, "sip:0301234567@ims.example;user=phone", "tel:+49301234567"},
		{"sip_with_context_in_the_user_part", germany, "sip:0301234567;phone-context=ims.example@ims.example;user=phone", "tel:+49301234567"},
		{"dial_string", germany, "sip:0301234567;phone-context=ims.example@ims.example;user=dialstring", "tel:+49301234567"},
		{"sip_of_another_domain", germany, "sip:0301234567@other.example;user=phone", ""},
		{"a_name_of_digits_is_no_number", germany, "sip:0301234567@ims.example", ""},
		{"short_number", germany, "tel:1234;phone-context=ims.example", ""},
		{"service_code", germany, "tel:*21#;phone-context=ims.example", ""},
		{"no_rules", Numbering{}, "tel:0301234567;phone-context=ims.example", ""},
		{"america_local", america, "tel:5550100;phone-context=ims.example", "tel:+12125550100"},
		{"america_abroad", america, "tel:0114930123;phone-context=ims.example", "tel:+4930123"},
	}
	pool := sip.NewPool(sip.Limits{})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &SCSCF{cfg: Config{HomeDomain: "ims.example", Numbering: c.rules}}
			m := pool.NewRequest(sip.INVITE, c.uri)
			s.normalise(m)
			want := c.want
			if want == "" {
				want = c.uri
			}
			if got := string(m.RequestURI()); got != want {
				t.Errorf("%s becomes %s, want %s", c.uri, got, want)
			}
		})
	}
}
