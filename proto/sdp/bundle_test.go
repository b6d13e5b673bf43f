package sdp

import (
	"net/netip"
	"slices"
	"testing"
)

const bundleHead = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"

func section(kind, port, mid string, lines ...string) string {
	s := "m=" + kind + " " + port + " RTP/AVP 8\r\na=mid:" + mid + "\r\n"
	for _, l := range lines {
		s += l + "\r\n"
	}
	return s
}

// TestBundle reads groups (RFC 9143 7.1, RFC 5888 5).
func TestBundle(t *testing.T) {
	media := section("audio", "4000", "a") + section("video", "0", "v", "a=bundle-only") + section("audio", "4004", "b")
	for name, test := range map[string]struct {
		groups, media string
		want          []int
	}{
		"in its order":              {"a=group:BUNDLE v a\r\n", media, []int{1, 0}},
		"the first":                 {"a=group:LS a b\r\na=group:BUNDLE b\r\na=group:BUNDLE a\r\n", media, []int{2}},
		"a name that nobody has":    {"a=group:BUNDLE x a\r\n", media, []int{0}},
		"one twice":                 {"a=group:BUNDLE a v a\r\n", media, nil},
		"one name for two":          {"a=group:BUNDLE a\r\n", media + section("video", "4006", "a"), nil},
		"another kind":              {"a=group:LS a b\r\n", media, nil},
		"none":                      {"", media, nil},
		"nobody":                    {"a=group:BUNDLE\r\n", media, nil},
		"what begins with the word": {"a=group:BUNDLES a\r\n", media, nil},
	} {
		d, err := Parse([]byte(bundleHead+test.groups+test.media), Limits{})
		if err != nil || !slices.Equal(d.Bundle(), test.want) {
			t.Errorf("%s: %v, %v", name, d.Bundle(), err)
		}
		if err == nil && (!d.Media[1].BundleOnly() || d.Media[0].BundleOnly()) {
			t.Errorf("%s: which is bundle-only", name)
		}
	}
}

// TestSetBundle: one group is written, and reads as it was meant.
func TestSetBundle(t *testing.T) {
	d, err := Parse([]byte(bundleHead+"a=group:BUNDLE a\r\n"+section("audio", "4000", "a")+section("video", "4002", "v")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]int{{1, 0}, {0}, nil} {
		d.SetBundle(want)
		b, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(b, Limits{}); err != nil || !slices.Equal(again.Bundle(), want) {
			t.Errorf("%v reads %v, %v", want, again.Bundle(), err)
		}
	}
}

// TestAnswer_bundle: the one medium that is taken is alone in the group, if it was in it.
func TestAnswer_bundle(t *testing.T) {
	for name, test := range map[string]struct {
		group, mux string
		want       []int
	}{
		"with the video":    {"a=group:BUNDLE v a\r\n", "a=rtcp-mux", []int{1}},
		"without the voice": {"a=group:BUNDLE v\r\n", "a=rtcp-mux", nil},
		"without a group":   {"", "a=rtcp-mux", nil},
		"without rtcp-mux":  {"a=group:BUNDLE a\r\n", "a=ptime:20", nil},
	} {
		offer, err := Parse([]byte(bundleHead+test.group+section("video", "4000", "v", "a=rtcp-mux")+section("audio", "4002", "a", test.mux)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := Answer(offer, Local{Address: netip.MustParseAddr("192.0.2.2"), Port: 5000}, Capabilities{Audio: []Codec{PCMA()}, Floor: PlainRTP})
		if err != nil || !slices.Equal(answer.Bundle(), test.want) {
			t.Errorf("%s: %v, %v", name, answer.Bundle(), err)
		}
	}
}
