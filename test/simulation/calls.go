package simulation

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"imsafe/imsbox/charging"
	"imsafe/proto/sip"
	"imsafe/refpoint/rf"
	"imsafe/test/lab"
)

// calling is what became of a call, as its two ends tell.
type calling struct {
	caller *phone
	branch string // of the INVITE that came to the callee; "" as long as none did
	how    [2]outcome
	// status is that of the caller's refusal, and copied says that the callee rang behind it: by another copy of the INVITE.
	status int
	copied bool
	// oks is how often the callee has sent his 200, and lost how often the network has lost one, wherever.
	oks, lost int
}

// never reports whether no 200 has come to the caller because each of them was lost. It goes from end to end, and nobody between them sends it again
// (RFC 3261 13.3.1.4): after 64*T1 the callee says BYE.
func (c *calling) never() bool {
	return c.how == [2]outcome{unheard, answered} && c.oks > 0 && c.lost >= c.oks
}

// twice reports whether the network has doubled an INVITE whose first copy was refused at the edge, which remembers no refusal of who is not registered
// (RFC 3261 8.2.7), and whose second copy came when the caller was: it went on.
func (c *calling) twice() bool {
	return c.how == [2]outcome{refused, answered} && c.status == 403 && c.copied
}

// transports notes the 200 to an INVITE that a phone sends, or that the network has lost.
func (w *witness) transports(data []byte, lost bool, from *phone) {
	if !bytes.HasPrefix(data, []byte("SIP/2.0 200 ")) || !bytes.HasSuffix(field(data, "CSeq: "), []byte("INVITE")) {
		return
	}
	switch c := w.calls[string(field(data, "Call-ID: "))]; {
	case c == nil:
	case lost:
		c.lost++
	case from != nil:
		c.oks++
	}
}

// side is an end of a call.
type side int

const (
	ofCaller side = iota
	ofCallee
)

// outcome is the one way in which a call ends for one of its ends: it is answered or not, whatever comes later.
type outcome string

const (
	open     outcome = ""
	answered outcome = "answered"
	refused  outcome = "refused"
	unheard  outcome = "without an answer"
)

// ended notes how a call ended for one side. It ends once, where nothing but the network fails: a phone that was switched off and on has forgotten
// that it refused, and rings when the INVITE is sent again.
func (w *witness) ended(id string, s side, how outcome) {
	c := w.calls[id]
	if c == nil {
		w.fail("call %s was never begun", id)
		return
	}
	if was := c.how[s]; was != open && was != how && w.r.Network {
		w.fail("call %s is %s and then %s, for side %d", id, was, how, s)
	}
	c.how[s] = how
}

// rings: an INVITE makes a phone ring. However often it was sent and doubled, it comes to the phone as one transaction.
func (w *witness) rings(p *phone, v *served) {
	id, via := string(v.request.Get(sip.HdrCallID)), v.request.Get(sip.HdrVia)
	c := w.calls[id]
	top, err := sip.ParseVia(via)
	switch {
	case c == nil || err != nil:
		w.fail("%s rings for call %s, which nobody made: %v", p.name, id, err)
	case c.branch != "" && c.branch != string(top.Branch) && w.r.Network:
		w.fail("%s rings for call %s twice, as %s and as %s", p.name, id, c.branch, top.Branch)
	default:
		c.branch = string(top.Branch)
		c.copied = c.how[ofCaller] == refused
	}
}

// lookAtCalls judges the calls of a run whose network alone was bad, when all is silent.
func (w *witness) lookAtCalls() error {
	if !w.r.Network {
		return nil
	}
	records := map[*lab.Node]map[half][]charging.Type{}
	for _, n := range w.r.w.Nodes {
		var err error
		if records[n], err = recordsOf(n); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.calls)) {
		if err := w.lookAtCall(id, w.calls[id], records[w.calls[id].caller.node]); err != nil {
			return fmt.Errorf("call %s: %w", id, err)
		}
	}
	return nil
}

func (w *witness) lookAtCall(id string, c *calling, all map[half][]charging.Type) error {
	caller, callee := c.how[ofCaller], c.how[ofCallee]
	if c.never() || c.twice() {
		caller = answered // for the callee, and for those who count
	}
	switch {
	case caller != answered && caller != refused:
		return fmt.Errorf("it ended %q for the caller", caller)
	case (caller == answered) != (callee == answered):
		return fmt.Errorf("it is %s for the caller and %q for the callee", caller, callee)
	}
	if caller == answered {
		w.counts.Talked++
	}
	for _, role := range []rf.Role{rf.Originating, rf.Terminating} {
		records := all[half{id, role.String()}]
		w.counts.Records += len(records)
		want := [][]charging.Type{{charging.Event}}
		if caller == answered {
			// Both may hang up at once, and the S-CSCF with them if a registration ends in that moment.
			want = [][]charging.Type{{charging.Start, charging.Stop}, {charging.Start, charging.Stop, charging.Stop},
				{charging.Start, charging.Stop, charging.Stop, charging.Stop}}
		} else if c.branch == "" {
			want = append(want, nil) // it came to nobody, perhaps not even to that half
		}
		if !slices.ContainsFunc(want, func(one []charging.Type) bool { return slices.Equal(one, records) }) {
			return fmt.Errorf("%s, and its %s half has the records %v", caller, role, records)
		}
	}
	return nil
}

// half is one half of a call.
type half struct{ id, role string }

// recordsOf returns the types of a node's records, in the order of time.
func recordsOf(n *lab.Node) (map[half][]charging.Type, error) {
	all := map[half][]charging.Type{}
	for cursor := []byte(nil); ; {
		records, next, err := n.Store.Scan(charging.TableCall, nil, cursor, 100)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			record, err := charging.Decode(r.Value)
			if err != nil {
				return nil, err
			}
			h := half{record.CallID, record.Role}
			all[h] = append(all[h], record.Type)
		}
		if cursor = next; next == nil {
			return all, nil
		}
	}
}
