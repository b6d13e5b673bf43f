package pcscf

import (
	"bytes"
	"testing"

	"imsafe/proto/sip"
)

const parts = "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Type: Application/SDP\r\nContent-Disposition: session\r\n\r\nv=0\r\ns=-\r\n\r\n--x--\r\n"

func TestDescribe(t *testing.T) {
	pool := sip.NewPool(sip.Limits{})
	for kind, c := range map[string]struct{ body, found, then string }{
		"application/sdp":                {"v=0\r\n", "v=0\r\n", "new"},
		"application/sdp;charset=utf-8":  {"v=0\r\n", "v=0\r\n", "new"},
		`multipart/mixed;boundary="x"`:   {parts, "v=0\r\ns=-\r\n", "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Type: Application/SDP\r\nContent-Disposition: session\r\n\r\nnew\r\n--x--\r\n"},
		"multipart/mixed;boundary=other": {parts, "", ""},
		"multipart/mixed":                {parts, "", ""},
		"text/plain":                     {"v=0", "", ""},
	} {
		m := pool.NewRequest(sip.INVITE, "sip:b@ims.example")
		m.SetBody(kind, []byte(c.body))
		got, found := descriptionOf(m)
		if string(got) != c.found || found != (c.found != "") {
			t.Errorf("%s: found %q", kind, got)
		}
		if !found {
			continue
		}
		if describe(m, []byte("new")); string(m.Body()) != c.then {
			t.Errorf("%s: %q", kind, m.Body())
		}
	}
}

// FuzzDescription: what is found stands in the body, and after it was put in its place another one is found there.
func FuzzDescription(f *testing.F) {
	f.Add("multipart/mixed;boundary=x", []byte(parts))
	f.Add("application/sdp", []byte("v=0"))
	pool := sip.NewPool(sip.Limits{})
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		start, end, found := partOf([]byte(kind), body)
		if start > end || end > len(body) {
			t.Fatalf("%d to %d of %d", start, end, len(body))
		}
		if !found || bytes.ContainsAny([]byte(kind), "\r\n\x00") {
			return
		}
		m := pool.NewRequest(sip.INVITE, "sip:b@ims.example")
		m.SetBody(kind, body)
		if describe(m, []byte("v=0 other")); !bytes.Contains(m.Body(), []byte("v=0 other")) {
			t.Fatalf("%q", m.Body())
		}
	})
}
