package pcscf

import (
	"testing"

	"imsafe/hop"
	"imsafe/policy"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// caller is a registered client with a name and a number.
func caller() secure.Proof {
	return mint.Access(mint.Client{IMPI: "alice@ims.example", IMPUs: []string{"sip:alice@ims.example", "tel:+4930123456"}})
}

// request is an initial request of caller as it stands behind assertIdentity.
func request(from, privacy string) hop.Inbound {
	m := sip.NewPool(sip.Limits{}).NewRequest(sip.INVITE, "sip:bob@ims.example")
	m.SetString(sip.HdrFrom, from)
	m.SetString(sip.HdrPAssertedIdentity, "<sip:alice@ims.example>")
	if privacy != "" {
		m.SetString(sip.HdrPrivacy, privacy)
	}
	return hop.Inbound{Msg: m, Proof: caller()}
}

func TestCheckFrom(t *testing.T) {
	for _, c := range []struct{ name, from, privacy, want string }{
		{"his own", `"Alice" <sip:alice@ims.example>;tag=1`, "", ""},
		{"his own with parameters", `<sip:alice@IMS.example;gr=x>;tag=1`, "", ""},
		{"without brackets", `sip:alice@ims.example;tag=1`, "", ""},
		{"his number", `"030 123456" <tel:+49-30-123456>;tag=1`, "", ""},
		{"his number as people write it", `"+49 (30) 12 34 56" <sip:alice@ims.example>;tag=1`, "", ""},
		{"his number as a SIP URI", `<sip:+4930123456@ims.example;user=phone>;tag=1`, "", ""},
		{"nobody", `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1`, "", ""},
		{"a name with a number in it", `"Studio 54, Room 1200" <sip:alice@ims.example>;tag=1`, "", ""},
		{"a name in another script", `"Алиса 2" <sip:alice@ims.example>;tag=1`, "", ""},
		{"his address as a name", `"alice@ims.example" <sip:alice@ims.example>;tag=1`, "", ""},
		{"another user", `"Bob" <sip:bob@ims.example>;tag=1;x=y`, "", `<sip:alice@ims.example>;tag=1;x=y`},
		{"another domain", `<sip:alice@other.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"his number elsewhere", `<sip:+4930123456@other.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"another number", `<tel:+4930999999>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"no identity at all", `<http://www.example.com/>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"another, in secret", `<sip:x@other.example>;tag=1`, "id;critical", anonymous + ";tag=1"},
		{"a number for a name", `"+49 30 999999" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"a number within a name", `"Bank (030 99-99-99)" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"part of a number that is not his", `"23456 999" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"digits of another script", `"٠٣٠١٢٣٤٥٦" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"digits with nothing between", "\"9\u200b9\u200b9\u200b9\u200b9\" <sip:alice@ims.example>;tag=1", "", `<sip:alice@ims.example>;tag=1`},
		{"escaped", `"\9\9\9\9\9" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"an address for a name", `"bob@ims.example" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"a URI for a name", `"tel:+4930999999" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
		{"a wide at sign", `"bob＠ims.example" <sip:alice@ims.example>;tag=1`, "", `<sip:alice@ims.example>;tag=1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &PCSCF{cfg: Config{Home: "ims.example"}, ports: Ports{Gate: policy.Default().Gate(nil)}}
			in := request(c.from, c.privacy)
			restore := p.checkFrom(in)
			want := c.want
			if want == "" {
				want = c.from
			}
			if got := string(in.Msg.Get(sip.HdrFrom)); got != want {
				t.Errorf("%s becomes %s, want %s", c.from, got, want)
			}
			if refused, _ := p.ports.Gate.Counts(secure.CIAuthenticationFromCheck); (refused == 1) != (c.want != "") || (restore != nil) != (c.want != "") {
				t.Errorf("%d refusals, restored in responses: %v", refused, restore != nil)
			}
		})
	}
}

func FuzzCheckFrom(f *testing.F) {
	for _, from := range []string{`"A" <sip:alice@ims.example>;tag=1`, `"+49 30 99" <tel:+1>`, `<sip:a@b;gr>`, `"\"\\" <tel:;phone-context=x>`, "sip:x@y;tag=2"} {
		f.Add(from)
	}
	p := &PCSCF{cfg: Config{Home: "ims.example"}, ports: Ports{Gate: policy.Default().Gate(nil)}}
	f.Fuzz(func(t *testing.T, from string) {
		in := request(from, "")
		before, err := in.Msg.From()
		if err != nil {
			return
		}
		tag := string(before.Params)
		if p.checkFrom(in) == nil {
			return
		}
		after, err := in.Msg.From()
		if err != nil || string(after.Params) != tag || len(after.Display) > 0 || !p.isSenders(in, after.URI) {
			t.Fatalf("%q becomes %q", from, in.Msg.Get(sip.HdrFrom))
		}
	})
}

// BenchmarkCheckFrom is the cost of each initial request whose From is as it should be.
func BenchmarkCheckFrom(b *testing.B) {
	p := &PCSCF{cfg: Config{Home: "ims.example"}, ports: Ports{Gate: policy.Default().Gate(nil)}}
	in := request(`"Alice" <sip:alice@ims.example>;tag=1`, "")
	b.ReportAllocs()
	for b.Loop() {
		p.checkFrom(in)
	}
}
