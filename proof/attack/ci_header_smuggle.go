package attack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// headerSmuggle: the headers of the network's word, written so that whoever removes them may not know them again.
func headerSmuggle() Attack {
	return Attack{
		ID: "ci.header.smuggle", Number: "CI-24", Title: "network headers in disguise",
		Text:     "a header that the edge does not recognise and the next function does is as good as one that nobody removed",
		Services: []Service{Integrity, Authentication}, Stride: Elevation, Threats: []Threat{Corruption}, Module: ServicesControl,
		Source: "RFC 3261 7.3; CVE-2020-28361", Access: both(),
		Bounds:   Bounds{Packets: 160, Bytes: 160_000, Conns: 48, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: disguiseHeaders, Controls: []secure.ControlID{secure.CIIntegrityHeaderEdge}}},
	}
}

// disguises are lines that some reader takes for a header of the network; each says forged.
func disguises() []string {
	const id = "<sip:forged@example.org>"
	var all []string
	for _, name := range []string{"Remote-Party-ID :", "Remote-Party-ID\t:", "remote-party-id:", "REMOTE-PARTY-ID:", "Remote-Party-ID:\r\n ",
		"Remote-Party-ID\r\n :",
		"P-Asserted-Service :", "p-asserted-service\t \t:", "P-Associated-URI :", "P-Asserted-Identity :", "P-Asserted-Identity:\r\n ",
		"Remote-Party-ID\x00:", "Subject: a\nRemote-Party-ID:", "Subject: a\rRemote-Party-ID:", "Subject: a\r\r\nRemote-Party-ID:",
		"Subject: a\x00\nRemote-Party-ID:",
		"Subject: \"a\r\nRemote-Party-ID:", ":Remote-Party-ID:", "Remote_Party_ID:", "Remote-Party-ID: <sip:a@example.org>, "} {
		all = append(all, name+" "+id)
	}
	return all
}

func disguiseHeaders(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	forged, arrived, way := 0, 0, "none"
	all := disguises()
	for i, line := range all {
		text := fmt.Sprintf("disguised %d", i)
		status, err := mallory.answered(ctx, mallory.Message(f.Users[Carol].IMPU, text, line))
		if errors.Is(err, ErrClosed) { // the target would not read on
			if mallory, err = f.Mallory(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		if status != 200 {
			continue // what is no SIP may have no answer at all
		}
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		arrived++
		if name, found := networkHeader(m); found {
			forged, way = forged+1, fmt.Sprintf("%q as %s", line, name)
		}
	}
	o.Arrived("%d messages, %d of them arrive at carol", len(all), arrived)
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "of %d messages that arrive at carol %d have a forged header of the network, the last %s", arrived, forged, way)
	return nil
}

// networkHeader returns the name of a header that only networks write and that says what was forged.
func networkHeader(m *sip.Message) (string, bool) {
	for _, name := range []string{"Remote-Party-ID", "P-Asserted-Service", "P-Associated-URI", "P-Asserted-Identity"} {
		for n, v := range m.Fields() {
			if string(n) == name && contains(v, "forged") {
				return name, true
			}
		}
	}
	return "", false
}
