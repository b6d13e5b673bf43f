package imsservice

import (
	"slices"
	"testing"

	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
)

// mediating is a platform that has asked for media, and was granted some of it.
func mediating(t *testing.T, see string) *isc.Service {
	t.Helper()
	m, err := isc.Parse([]byte(`manifest = 1
service  = "talk"
provider = "example"
domain   = "ims.example"
endpoint = "sips:talk.as.ims.example:5061"
psi      = ["sip:talk@ims.example"]
scopes   = ["session.answer", "media.send", "media.receive", "media.record"]
headers  = { see = [` + see + `] }
limits   = { cps = 20, sessions = 200, fork = 1, media_mbps = 20 }
expires  = 2030-01-01
`))
	if err != nil {
		t.Fatal(err)
	}
	granted, err := isc.ParseScopes([]string{"session.answer", "media.send", "media.receive"})
	if err != nil {
		t.Fatal(err)
	}
	return &isc.Service{Manifest: m, Granted: granted}
}

// TestTellMedia: what the core says of media is on top of what others can do (RFC 6809 4.2.1), which stays, in order; what another says in its name
// goes. A request that is no INVITE says nothing.
func TestTellMedia(t *testing.T) {
	const ours = `*;+g.imsafe.media="receive,send"`
	for name, c := range map[string]struct {
		method     sip.Method
		came, want []string
	}{
		"alone":             {sip.INVITE, nil, []string{ours}},
		"beside others":     {sip.INVITE, []string{"*;+g.3gpp.srvcc", "*;+g.3gpp.mid-call"}, []string{ours, "*;+g.3gpp.srvcc", "*;+g.3gpp.mid-call"}},
		"beside a forgery":  {sip.INVITE, []string{`*;+G.imsafe.Media="record"`, "*;+g.3gpp.srvcc"}, []string{ours, "*;+g.3gpp.srvcc"}},
		"not in a MESSAGE":  {sip.MESSAGE, []string{"*;+g.3gpp.srvcc"}, []string{"*;+g.3gpp.srvcc"}},
		"a forgery between": {sip.INVITE, []string{"*;+g.a", `*;+g.b;+g.imsafe.media="mix"`, "*;+g.c"}, []string{ours, "*;+g.a", "*;+g.c"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := sip.NewPool(sip.Limits{}).NewRequest(c.method, "sip:talk@ims.example")
			defer m.Release()
			for _, v := range c.came {
				m.AppendString(sip.HdrFeatureCaps, v)
			}
			tellMedia(mediating(t, ""), m)
			var got []string
			for v := range m.Values(sip.HdrFeatureCaps) {
				got = append(got, string(v))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestFeatureCaps_are_shown: what functions on the way can do says where the caller is, and is shown to who may know that.
func TestFeatureCaps_are_shown(t *testing.T) {
	for see, shown := range map[string]bool{"": false, `"location"`: true, `"device"`: false} {
		if set := view(mediating(t, see)); set.Has(sip.HdrFeatureCaps) != shown {
			t.Errorf("headers.see = [%s]: shown %v", see, !shown)
		}
	}
}
