package pcscf

import (
	"testing"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

func TestBesideOf(t *testing.T) {
	const level, mid, mine = "urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:ietf:params:rtp-hdrext:sdes:mid", "http://example.org/mine"
	list := func(lines ...[2]string) (all []sdp.Attribute) {
		for _, l := range lines {
			all = append(all, sdp.Attribute{Key: l[0], Value: l[1]})
		}
		return all
	}
	ids := func(ids ...uint8) (b iq.Beside) {
		for _, id := range ids {
			b.Extensions[id/64] |= 1 << (id % 64)
		}
		return b
	}
	for _, c := range []struct {
		name              string
		offer, answer     []sdp.Attribute
		offerer, answerer iq.Beside
	}{
		{"nothing", nil, nil, iq.Beside{}, iq.Beside{}},
		{"offered alone", list([2]string{"extmap", "1 " + level}), nil, iq.Beside{}, iq.Beside{}},
		{"answered alone", nil, list([2]string{"extmap", "1 " + level}), iq.Beside{}, iq.Beside{}},
		{"both", list([2]string{"extmap", "1 " + level}, [2]string{"extmap", "200 " + mid}), list([2]string{"extmap", "200 " + mid}), ids(200), ids(200)},
		{"another one under the same number", list([2]string{"extmap", "1 " + level}), list([2]string{"extmap", "1 " + mine}), iq.Beside{}, iq.Beside{}},
		{"another number", list([2]string{"extmap", "1 " + level}), list([2]string{"extmap", "2 " + level}), iq.Beside{}, iq.Beside{}},
		{"one way", list([2]string{"extmap", "1 " + level}), list([2]string{"extmap", "1/recvonly " + level + " vad=on"}), ids(1), iq.Beside{}},
		{"the other way", list([2]string{"extmap", "1 " + level}), list([2]string{"extmap", "1/sendonly " + level}), iq.Beside{}, ids(1)},
		{"numbers that no packet has", list([2]string{"extmap", "4096 " + level}, [2]string{"extmap", "0 " + mid}), list([2]string{"extmap", "4096 " + level}, [2]string{"extmap", "0 " + mid}),
			iq.Beside{}, iq.Beside{}},
		{"feedback", list([2]string{"rtcp-fb", "* nack pli"}, [2]string{"rtcp-fb", "96 nack"}, [2]string{"rtcp-fb", "96 goog-remb"}),
			list([2]string{"rtcp-fb", "96 nack"}, [2]string{"rtcp-fb", "96 nack pli"}, [2]string{"rtcp-fb", "96 ccm tmmbr smaxpr=120"}),
			iq.Beside{Transport: 1 << 1, Payload: 1 << 1}, iq.Beside{Transport: 1 << 1, Payload: 1 << 1}},
		{"feedback of somebody's own", list([2]string{"rtcp-fb", "* mine"}), list([2]string{"rtcp-fb", "* mine"}), iq.Beside{}, iq.Beside{}},
		{"extended reports for who asks", list([2]string{"rtcp-xr", "voip-metrics"}), list([2]string{"rtcp-xr", ""}), iq.Beside{}, iq.Beside{Extended: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if offerer, answerer := besideOf(c.offer, c.answer); offerer != c.offerer || answerer != c.answerer {
				t.Errorf("the offerer may send %+v and the answerer %+v, want %+v and %+v", offerer, answerer, c.offerer, c.answerer)
			}
		})
	}
}

// What the anchor takes out of packets is not promised in descriptions.
func TestKeepAttributes(t *testing.T) {
	for _, c := range []struct {
		a    sdp.Attribute
		kept bool
	}{
		{sdp.Attribute{Key: "ssrc", Value: "7 cname:alice@her-telephone"}, false},
		{sdp.Attribute{Key: "ssrc", Value: "7 msid:a b"}, true},
		{sdp.Attribute{Key: "extmap", Value: "3 urn:ietf:params:rtp-hdrext:encrypt urn:ietf:params:rtp-hdrext:ssrc-audio-level"}, false},
		{sdp.Attribute{Key: "extmap", Value: "3 urn:ietf:params:rtp-hdrext:ssrc-audio-level"}, true},
		{sdp.Attribute{Key: "cryptex"}, false},
		{sdp.Attribute{Key: "bundle-only"}, false},
		{sdp.Attribute{Key: "curr", Value: "qos local none"}, true},
	} {
		if got := len(keepAttributes([]sdp.Attribute{c.a})) == 1; got != c.kept {
			t.Errorf("%+v: kept %v, want %v", c.a, got, c.kept)
		}
	}
}
