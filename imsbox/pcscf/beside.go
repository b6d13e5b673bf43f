package pcscf

import (
	"slices"
	"strconv"
	"strings"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// What may come beside the payload types of a medium: what both descriptions have. Nobody else's word counts, and what stands in one of them alone is not
// agreed on.

// terms are a medium with what stands for the whole session, which counts for each medium (RFC 8285 5, RFC 3611 5.1).
func terms(d *sdp.Session, m *sdp.Media) []sdp.Attribute {
	return keepAttributes(slices.Concat(d.Other, m.Other))
}

// besideOf is what the two ends may send each other by an offer and its answer.
func besideOf(offer, answer []sdp.Attribute) (offerer, answerer iq.Beside) {
	for _, x := range extensions(answer) {
		if !slices.ContainsFunc(extensions(offer), func(o extension) bool { return o.id == x.id && o.uri == x.uri }) {
			continue
		}
		if x.direction.Receives() {
			offerer.Extensions[x.id/64] |= 1 << (x.id % 64)
		}
		if x.direction.Sends() {
			answerer.Extensions[x.id/64] |= 1 << (x.id % 64)
		}
	}
	transport, payload := feedback(offer)
	t, p := feedback(answer)
	offerer.Transport, offerer.Payload = transport&t, payload&p
	answerer.Transport, answerer.Payload = offerer.Transport, offerer.Payload
	offerer.Extended, answerer.Extended = reports(answer), reports(offer) // who asks for them gets them (RFC 3611 5.2)
	return offerer, answerer
}

// extension is an a=extmap (RFC 8285 8).
type extension struct {
	id        uint8
	direction sdp.Direction
	uri       string
}

// extensions reads those of a description. One that cannot be read is not there, nor is one whose identifier no packet can have (RFC 8285 7).
func extensions(all []sdp.Attribute) (list []extension) {
	for _, a := range all {
		f := strings.Fields(a.Value)
		if a.Key != "extmap" || len(f) < 2 {
			continue
		}
		number, direction, _ := strings.Cut(f[0], "/")
		id, err := strconv.ParseUint(number, 10, 8)
		if err != nil || id == 0 {
			continue
		}
		x := extension{id: uint8(id), uri: f[1]}
		for _, d := range []sdp.Direction{sdp.SendOnly, sdp.RecvOnly, sdp.Inactive} {
			if direction == d.String() {
				x.direction = d
			}
		}
		list = append(list, x)
	}
	return list
}

// messages are the formats of feedback that each form of a=rtcp-fb names (RFC 4585 4.2, RFC 5104 7.1, RFC 6679 6.2, RFC 7728 9, RFC 8888 6), and two that
// browsers have.
func messages(form string) (transport, payload uint32) {
	switch form {
	case "nack":
		return 1 << 1, 0
	case "nack pli":
		return 0, 1 << 1
	case "nack sli":
		return 0, 1 << 2
	case "nack rpsi", "ack rpsi":
		return 0, 1 << 3
	case "nack app", "ack app", "goog-remb":
		return 0, 1 << 15
	case "nack ecn":
		return 1 << 8, 0
	case "ccm fir":
		return 0, 1 << 4
	case "ccm tmmbr":
		return 1<<3 | 1<<4, 0
	case "ccm tstr":
		return 0, 1<<5 | 1<<6
	case "ccm vbcm":
		return 0, 1 << 7
	case "ccm pause":
		return 1 << 9, 0
	case "ack ccfb":
		return 1 << 11, 0
	case "transport-cc":
		return 1 << 15, 0
	}
	return 0, 0
}

// feedback reads which messages of feedback a description speaks of.
func feedback(all []sdp.Attribute) (transport, payload uint32) {
	for _, a := range all {
		f := strings.Fields(a.Value)
		if a.Key != "rtcp-fb" || len(f) < 2 {
			continue
		}
		t, p := messages(strings.Join(f[1:min(len(f), 3)], " "))
		transport, payload = transport|t, payload|p
	}
	return transport, payload
}

// reports says whether a description asks for extended reports. An a=rtcp-xr without a format asks for none (RFC 3611 5.1).
func reports(all []sdp.Attribute) bool {
	return slices.ContainsFunc(all, func(a sdp.Attribute) bool { return a.Key == "rtcp-xr" && strings.TrimSpace(a.Value) != "" })
}

// namesSource reports whether an attribute says the CNAME of a source (RFC 5576 6.1): the anchor has put another one in its place.
func namesSource(a sdp.Attribute) bool {
	_, what, _ := strings.Cut(a.Value, " ")
	return a.Key == "ssrc" && strings.HasPrefix(strings.TrimSpace(what), "cname")
}

// sealsHeader reports whether an attribute is about header extensions that are sealed with the media key (RFC 6904 4, RFC 9335), which the anchor does not have from
// end to end.
func sealsHeader(a sdp.Attribute) bool {
	return a.Key == "cryptex" || a.Key == "extmap" && strings.Contains(a.Value, "urn:ietf:params:rtp-hdrext:encrypt")
}
