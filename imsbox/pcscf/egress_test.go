package pcscf

import (
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/proto/sip"
)

func TestPrivacyOf(t *testing.T) {
	pool := sip.NewPool(sip.Limits{})
	for v, want := range map[string]privacy{"": 0, "none": 0, "id": privacyID, "ID;Critical": privacyID | privacyCritical, "header; session ,user": privacyHeader | privacySession | privacyUser,
		"history": privacyHistory, "none\nid\nheader": privacyID | privacyHeader, ";;": 0, "idx": 0} {
		m := pool.NewRequest(sip.INVITE, "sip:bob@ims.example")
		for line := range strings.SplitSeq(v, "\n") {
			m.AppendString(sip.HdrPrivacy, line)
		}
		if got := privacyOf(m); got != want {
			t.Errorf("%q: %b, want %b", v, got, want)
		}
	}
}

func TestWithoutLocation(t *testing.T) {
	const place = "Content-Type: application/PIDF+xml\r\n\r\n<here/>"
	for _, c := range []struct {
		name, boundary, body, want string
		dropped                    bool
	}{
		{"between", "b", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\n" + place + "\r\n--b--\r\n", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n", true},
		{"first", `"b c"`, "--b c\r\n" + place + "\r\n--b c\r\n\r\nv=0\r\n--b c--", "--b c\r\n\r\nv=0\r\n--b c--", true},
		{"within another", "b", "--b\r\n\r\nv=0\r\n--b\r\nContent-Type: Multipart/alternative;boundary=c\r\n\r\n--c\r\n" + place + "\r\n--c--\r\n--b--", "--b\r\n\r\nv=0\r\n--b--", true},
		{"none", "b", "--b\r\n\r\nv=0\r\n--b--", "--b\r\n\r\nv=0\r\n--b--", false},
		{"the word in a text", "b", "--b\r\n\r\napplication/pidf+xml\r\n--b--", "--b\r\n\r\napplication/pidf+xml\r\n--b--", false},
		{"no boundary", "", "--b\r\n" + place, "", true},
	} {
		got, dropped := withoutLocation([]byte("multipart/mixed;boundary="+c.boundary), []byte(c.body))
		if string(got) != c.want || dropped != c.dropped {
			t.Errorf("%s: %q, %v", c.name, got, dropped)
		}
	}
}

// FuzzWithhold: whatever a client writes, the other party does not read the number of its device or its place.
func FuzzWithhold(f *testing.F) {
	for _, seed := range [][3]string{{`<sip:a@b>;+sip.instance="<urn:gsma:imei:secret>"`, "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/pidf+xml\r\n\r\nx"},
		{`"a" <sip:a@b;gr=x>;q=0.5;reg-id=1`, "application/pidf+xml", "x"}, {"sip:a@b;x", "application/sdp", "v=0"}, {"*", "", ""}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	p := &PCSCF{ports: Ports{Gate: policy.Default().Gate(nil)}}
	f.Fuzz(func(t *testing.T, contact, kind, body string) {
		m := sip.NewPool(sip.Limits{}).NewRequest(sip.INVITE, "sip:bob@ims.example")
		m.SetString(sip.HdrFrom, "<sip:alice@ims.example>;tag=1")
		m.SetString(sip.HdrContact, contact)
		m.SetBody(kind, []byte(body))
		p.withholdRequest(m, 0)
		if m.NamesDevice() {
			t.Errorf("%q becomes %q", contact, m.Get(sip.HdrContact))
		}
		if isType(m.Get(sip.HdrContentType), typeLocation) {
			t.Errorf("a place is left: %q", m.Body())
		}
	})
}

// BenchmarkWithhold is the cost of an INVITE to a client, and of one that a telephone has written.
func BenchmarkWithhold(b *testing.B) {
	p := &PCSCF{ports: Ports{Gate: policy.Default().Gate(nil)}}
	for name, lines := range map[string]string{"nothing": "", "telephone": "User-Agent: x\r\nP-Access-Network-Info: 3GPP;cell=1\r\nContact: <sip:a@b>;+sip.instance=\"<urn:x>\"\r\n"} {
		m, err := sip.NewPool(sip.Limits{}).Parse([]byte("INVITE sip:bob@ims.example SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:alice@ims.example>;tag=1\r\nTo: <sip:bob@ims.example>\r\n" +
			"Call-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n" + lines + "Content-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0"))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c := m.Clone()
				p.withholdRequest(c, 0)
				c.Release()
			}
		})
		if strings.HasPrefix(name, "n") {
			b.Run("clone", func(b *testing.B) {
				for b.Loop() {
					m.Clone().Release()
				}
			})
		}
	}
}
