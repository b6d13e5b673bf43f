package scscf

import (
	"slices"
	"strconv"
	"strings"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/sip"
	"imsafe/refpoint/rf"
)

// device is one client of a called user: the flows that lead to it, the newest first. A request goes along one of them
// (RFC 5626 6).
type device struct {
	instance string
	q        int // preference in thousandths
	flows    []flow
}

// flow is a binding as a way to its device.
type flow struct {
	contact
	impi string // whose registration it is in
}

// devicesOf gathers the bindings of impu in registrations by device, without those whose flow is known to be gone, and without those
// of emergency registrations, which are for calls back from who answers emergencies (TS 24.229 5.4.3.3).
func devicesOf(all []registration, impu string, callBack bool) []device {
	var devices []device
	for r := range all {
		set, _ := all[r].setOf(impu)
		for _, c := range slices.Backward(all[r].bound(set)) {
			if c.failed || c.emergency() && !callBack {
				continue
			}
			way := flow{c, all[r].impi}
			i := slices.IndexFunc(devices, func(d device) bool { return c.instance != "" && d.instance == c.instance })
			if i < 0 {
				devices = append(devices, device{instance: c.instance, q: preference(c.params)})
				i = len(devices) - 1
			}
			devices[i].flows = append(devices[i].flows, way)
		}
	}
	return devices
}

// preference returns the q-value of Contact parameters in thousandths; 1000 if there is none (RFC 3261 20.10).
func preference(params string) int {
	q, _ := sip.Param([]byte(strings.TrimPrefix(params, ";")), "q")
	if whole, fraction, _ := strings.Cut(string(q), "."); whole == "0" {
		n, _ := strconv.Atoi((fraction + "000")[:3]) // not a number: the least
		return n
	}
	return 1000
}

// branches are the ways of the request m to the devices of the callee (TS 24.229 5.4.3.3 steps 10 to 12), in the order and number that
// its sender wants (RFC 3841 9.1). asOf is that of the user whose devices they are.
func (s *SCSCF) branches(devices []device, m *sip.Message, offer *dialog.Offer, asOf uint64) []hop.Branch {
	slices.SortStableFunc(devices, func(a, b device) int { return b.q - a.q })
	if m.HasToken(sip.HdrRequestDisposition, "no-fork") {
		devices = devices[:1]
	}
	sequential := m.HasToken(sip.HdrRequestDisposition, "sequential")
	branches := make([]hop.Branch, len(devices))
	for i := range devices {
		d := &devices[i]
		branches[i] = hop.Branch{Q: d.q, Serve: func(x *hop.Exchange, in hop.Inbound) hop.Reply { return s.toDevice(x, in, d, offer, asOf) }}
		if sequential {
			branches[i].Q = len(devices) - i
		}
	}
	return branches
}

// toDevice tries the flows of a device until one is there. Who has no flow left is as good as unregistered: 480. offer is the INVITE that
// may make a dialog, nil for another request.
func (s *SCSCF) toDevice(x *hop.Exchange, in hop.Inbound, d *device, offer *dialog.Offer, asOf uint64) hop.Reply {
	for i := range d.flows {
		way, more := in, i < len(d.flows)-1
		if more {
			way.Msg = in.Msg.Clone()
		}
		r, gone := s.toFlow(x, way, &d.flows[i], offer, asOf)
		if gone {
			r.Msg.Release()
			r = x.Respond(480, "")
		}
		if !gone || !more || x.Cancelled() {
			if more {
				in.Msg.Release()
			}
			return r
		}
		r.Msg.Release()
	}
	return x.Refuse(in, 480, "")
}

// toFlow sends a request along a flow. It is gone if nobody is there any more: the edge has lost it, the edge itself cannot be reached, or the binding has ended,
// while it rang maybe.
func (s *SCSCF) toFlow(x *hop.Exchange, in hop.Inbound, f *flow, offer *dialog.Offer, asOf uint64) (r hop.Reply, gone bool) {
	binding := f.binding()
	i := s.settingUp(x, in, f.impi, binding, asOf, calleeGone)
	defer s.invites.Done(f.impi, i)
	if i.Ended() {
		return x.Refuse(in, 480, ""), true
	}
	r = s.toContact(x, in, &f.contact)
	s.dialogs.Confirmed(offer, half(rf.Terminating), []byte(f.impi), binding, r)
	lost := r.Status() == 430 // RFC 5626 5.3
	if lost {
		s.markFailed(f)
	}
	// A P-CSCF that is not there may come back with its flows, if only the way to it is cut; until then the device is not to be had
	// (TS 23.380 5.1), and its client registers at another.
	return r, lost || r.Unreached() || s.late(x, i, f.impi, binding, r)
}

// toContact sends a request to one binding: Request-URI the contact, Route its Path.
func (s *SCSCF) toContact(x *hop.Exchange, in hop.Inbound, c *contact) hop.Reply {
	in.Msg.SetRequestURI([]byte(c.uri))
	for _, p := range c.path {
		in.Msg.AppendString(sip.HdrRoute, p)
	}
	next, known := x.Next(in.Msg)
	if !known {
		return x.Refuse(in, 404, "")
	}
	return x.Forward(next, in, nil)
}

// address makes a request ready for the callee's devices: what routed it here has done its work, and P-Called-Party-ID keeps the
// identity that was called.
func (s *SCSCF) address(in hop.Inbound, callee user) {
	if s.routed(in, rf.Terminating) || in.Msg.Has(sip.HdrRoute) {
		in.Msg.RemoveFirst(sip.HdrRoute)
	}
	in.Msg.Remove(sip.HdrRoute)
	in.Msg.Remove(sip.HdrPProfileKey)
	var b [256]byte
	in.Msg.Set(sip.HdrPCalledPartyID, append(append(append(b[:0], '<'), callee.served...), '>'))
}

// markFailed notes that a flow is gone, so that the next request does not try it. In memory only: after a restart every flow is.
func (s *SCSCF) markFailed(f *flow) {
	// A record that does not fit stays as it was, and the next request finds out again.
	_ = s.users.Update([]byte(f.impi), func(old, buf []byte) ([]byte, bool) {
		current, err := decodeRegistration(f.impi, old, 0)
		if old == nil || err != nil {
			return old, old != nil
		}
		for i := range current.contacts {
			if c := &current.contacts[i]; c.uri == f.uri && c.callID == f.callID && c.cseq == f.cseq {
				c.failed = true
			}
		}
		return current.encode(buf, 0), true
	})
}
