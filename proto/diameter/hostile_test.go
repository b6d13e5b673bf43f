package diameter

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

// alone is beta, with a place for alpha, who is played octet by octet.
func alone(w *network, change func(c *Config)) *house {
	c := config(beta, PeerConfig{Host: alpha})
	if change != nil {
		change(&c)
	}
	h := w.start(c)
	synctest.Wait()
	return h
}

// stillThere wants a new peer to be served: whatever came before cost its own connection and nothing else.
func (h *house) stillThere(t *testing.T, w *network) {
	t.Helper()
	synctest.Wait()
	r := newRaw(t, w, beta, alpha)
	r.open(t)
	r.write(ofAlpha(request(h.Node, "x", nil)))
	if got, _, _ := ResultOf(r.read(t)); got != ResultSuccess {
		t.Errorf("afterwards: %v", got)
	}
	r.close()
	synctest.Wait()
	if n := h.cfg.Counters.Conns.Load(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func ofAlpha(msg []byte) []byte {
	copyHost(msg, alpha)
	return msg
}

// A message shorter than its header crashed another implementation before anybody had proven who he is.
func TestStranger_rubbish_instead_of_capabilities(t *testing.T) {
	whole := (&raw{host: alpha}).cer(nil)
	for name, octets := range map[string][]byte{
		"length below the header":  {1, 0, 0, 16, 0x80, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		"length zero":              {1, 0, 0, 0, 0x80, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"length no multiple of 4":  {1, 0, 0, 21, 0x80, 0, 1, 1},
		"too long for a stranger":  {1, 0xff, 0xff, 0xfc, 0x80, 0, 1, 1},
		"version 2":                {2, 0, 0, 20, 0x80, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"another protocol":         []byte("REGISTER sip:ims.example SIP/2.0\r\n\r\n"),
		"watchdog first":           (&raw{host: alpha}).dwr(),
		"answer first":             func() []byte { b := bytes.Clone(whole); b[4] = 0; return b }(),
		"CER of an application":    func() []byte { b := bytes.Clone(whole); b[11] = 5; return b }(),
		"CER with E":               func() []byte { b := bytes.Clone(whole); b[4] |= 0x20; return b }(),
		"half a CER, then silence": whole[:40],
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *network) {
				h := alone(w, nil)
				r := newRaw(t, w, beta, alpha)
				r.write(octets)
				if m := r.readAny(); !m.IsZero() {
					t.Errorf("answered with %v", m)
				}
				h.stillThere(t, w)
			})
		})
	}
}

func (r *raw) dwr() []byte {
	w := Begin(nil, Header{Flags: FlagRequest, Command: DWR})
	w.Text(OriginHost, r.host)
	w.Text(OriginRealm, realm)
	b, _ := w.End()
	return b
}

func TestStranger_says_nothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		h := alone(w, func(c *Config) { c.MaxHandshakes = 2 })
		newRaw(t, w, beta, alpha)
		newRaw(t, w, beta, alpha)
		if m := newRaw(t, w, beta, alpha).readAny(); !m.IsZero() || h.cfg.Counters.RefusedHandshakes.Load() != 1 {
			t.Error("a third stranger was let in")
		}
		time.Sleep(11 * time.Second)
		h.stillThere(t, w)
	})
}

// RFC 6733 5.3.
func TestCapabilities_refused(t *testing.T) {
	for name, c := range map[string]struct {
		as     string
		change func(w *Writer)
		want   Result
	}{
		"unknown peer":          {"omega.ims.example", nil, ResultUnknownPeer},
		"no common application": {alpha, func(w *Writer) { w.Unsigned32(AuthApplicationID, 4) }, ResultNoCommonApplication},
		"wants TLS in band":     {alpha, func(w *Writer) { w.Unsigned32(InbandSecurityID, 1) }, ResultNoCommonSecurity},
		"two Origin-Hosts":      {alpha, func(w *Writer) { w.Text(OriginHost, gamma) }, ResultAVPOccursTooManyTimes},
		"unknown mandatory AVP": {alpha, func(w *Writer) { w.Raw([]byte{0, 0, 3, 0, 0x40, 0, 0, 8}) }, ResultAVPUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *network) {
				h := alone(w, nil)
				r := newRaw(t, w, beta, c.as)
				r.write(r.cer(c.change))
				m := r.read(t)
				if got, _, _ := ResultOf(m); got != c.want || m.Command() != CER || m.HopByHop() != 9 {
					t.Errorf("%v, want %v", got, c.want)
				}
				if m := r.readAny(); !m.IsZero() {
					t.Error("the connection stays")
				}
				h.stillThere(t, w)
			})
		})
	}
}

// What a peer sends that is known: each fault has its answer, and the connection stays (RFC 6733 7).
func TestRequest_refused(t *testing.T) {
	raw4 := func(code uint32, flags byte, data ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, code)
		b = binary.BigEndian.AppendUint32(b, uint32(flags)<<24|uint32(8+len(data)))
		return pad(append(b, data...))
	}
	add := func(avp []byte) func([]byte) []byte {
		return func(m []byte) []byte {
			m = append(m, avp...)
			binary.BigEndian.PutUint32(m, 1<<24|uint32(len(m)))
			return m
		}
	}
	header := func(at int, v byte) func([]byte) []byte {
		return func(m []byte) []byte { m[at] = v; return m }
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   Result
		failed ID
	}{
		"unknown application":       {header(11, 9), ResultCommandUnsupported, Unknown}, // its role names none
		"unknown command":           {header(7, 0xff), ResultCommandUnsupported, Unknown},
		"E bit in a request":        {header(4, 0xe0), ResultInvalidHdrBits, Unknown},
		"unknown mandatory AVP":     {add(raw4(999, 0x40, 1, 2, 3)), ResultAVPUnsupported, Unknown},
		"known, but not here":       {add(raw4(25, 0x40, 1)), ResultAVPUnsupported, Class},
		"M bit missing":             {add(raw4(1, 0, 'a')), ResultInvalidAVPBits, UserName},
		"reserved bits":             {add(raw4(999, 0x01)), ResultInvalidAVPBits, Unknown},
		"wrong length for the type": {add(raw4(277, 0x40, 1, 2)), ResultInvalidAVPLength, AuthSessionState},
		"not UTF-8":                 {add(raw4(1, 0x40, 0xff)), ResultInvalidAVPValue, UserName},
		"no identity":               {add(raw4(293, 0x40, 'a', ' ')), ResultInvalidAVPValue, DestinationHost},
		"twice":                     {add(append(raw4(277, 0x40, 0, 0, 0, 1), raw4(277, 0x40, 0, 0, 0, 1)...)), ResultAVPOccursTooManyTimes, AuthSessionState},
		"missing":                   {func(m []byte) []byte { return without(m, SessionID) }, ResultMissingAVP, SessionID},
		"length runs over the end":  {add([]byte{0, 0, 0, 1, 0x40, 0, 0, 99}), ResultInvalidAVPLength, UserName},
		"length below the header":   {add([]byte{0, 0, 0, 1, 0x40, 0, 0, 4}), ResultInvalidAVPLength, UserName},
		"group with a broken end":   {add(raw4(260, 0x40, 0, 0, 1, 2, 0x40, 0, 0, 77)), ResultInvalidAVPLength, AuthApplicationID},
		"another realm":             {func(m []byte) []byte { return replace(m, DestinationRealm, "other.example") }, ResultRealmNotServed, Unknown},
		"another host":              {add(raw4(293, 0x40, []byte("other.example")...)), ResultUnableToDeliver, Unknown},
		"has been here before":      {add(raw4(282, 0x40, []byte(beta)...)), ResultLoopDetected, Unknown},
		"of somebody else":          {func(m []byte) []byte { return replace(m, OriginHost, gamma) }, ResultInvalidAVPValue, OriginHost},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *network) {
				h := alone(w, nil)
				r := newRaw(t, w, beta, alpha)
				defer r.close()
				r.open(t)
				msg := c.change(ofAlpha(request(h.Node, "", nil)))
				r.write(msg)
				m := r.read(t)
				if got, _, _ := ResultOf(m); got != c.want || m.IsRequest() || m.Flags()&FlagError != 0 != c.want.Protocol() {
					t.Fatalf("%v with flags %x, want %v", got, m.Flags(), c.want)
				}
				if f := m.Check(nil); f != nil {
					t.Errorf("our answer is malformed: %v", f)
				}
				a, shown := m.Find(FailedAVP)
				if inner, _ := a.Group().Find(c.failed); c.failed != Unknown && (!shown || inner.raw == nil) {
					t.Errorf("Failed-AVP does not show %v", c.failed)
				}
				r.write(ofAlpha(request(h.Node, "next", nil)))
				if got, _, _ := ResultOf(r.read(t)); got != ResultSuccess {
					t.Errorf("the next request: %v", got)
				}
			})
		})
	}
}

// rewrite copies a message with some AVPs changed or left out.
func rewrite(msg []byte, change func(a AVP, w *Writer)) []byte {
	m := Message{msg}
	w := Begin(nil, m.Header())
	for a := range m.AVPs().All() {
		change(a, &w)
	}
	b, _ := w.End()
	return b
}

func without(msg []byte, id ID) []byte {
	return rewrite(msg, func(a AVP, w *Writer) {
		if a.ID() != id {
			w.Raw(a.raw)
		}
	})
}

func replace(msg []byte, id ID, v string) []byte {
	return rewrite(msg, func(a AVP, w *Writer) {
		if a.ID() == id {
			w.Text(id, v)
		} else {
			w.Raw(a.raw)
		}
	})
}

// The three refusals for security after the capabilities exchange are asked about, and pass if the laboratory says so.
func TestRole(t *testing.T) {
	for _, lab := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *network) {
			var asked []Refusal
			h := alone(w, func(c *Config) {
				c.Refuse = func(r Refusal) bool { asked = append(asked, r); return !lab }
				c.Peers[0].Role = Role{Name: "none", AVPs: map[ID]bool{SessionID: true, OriginHost: true, OriginRealm: true, DestinationRealm: true},
					Requests: map[Application][]Command{AppCx: {LIR}}}
			})
			r := newRaw(t, w, beta, alpha)
			defer r.close()
			r.open(t)
			r.write(replace(request(h.Node, "name", nil), OriginHost, gamma))
			got, _, _ := ResultOf(r.read(t))
			synctest.Wait()
			if lab {
				if got != ResultSuccess || len(asked) != 3 || asked[0].Reason != ReasonCommand || asked[1].Reason != ReasonOriginHost ||
					asked[1].Claimed != gamma || asked[2].Reason != ReasonAVP || asked[2].AVP != UserName {
					t.Errorf("lab: %v, asked about %+v", got, asked)
				}
			} else if got != ResultCommandUnsupported || len(asked) != 1 || asked[0].Reason != ReasonCommand || asked[0].Command != UAR {
				t.Errorf("%v, asked about %+v", got, asked)
			}
		})
	}
}

// A peer that does not read is given up when its queue is full, and holds nobody.
func TestPeer_does_not_read(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		h := alone(w, func(c *Config) { c.MaxQueue = 4096 })
		r := newRaw(t, w, beta, alpha)
		r.open(t)
		msg := ofAlpha(request(h.Node, "x", nil))
		for r.write(msg) {
		}
		if h.cfg.Counters.ClosedSlow.Load() == 0 {
			t.Error("not counted")
		}
		h.stillThere(t, w)
	})
}

// A second connection in the name of a peer that is in service does not take its place (RFC 6733 5.6).
func TestPeer_second_connection(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		h := alone(w, nil)
		first := newRaw(t, w, beta, alpha)
		first.open(t)
		second := newRaw(t, w, beta, alpha)
		second.write(second.cer(nil))
		if m := first.read(t); m.Command() != DWR {
			t.Errorf("the first is asked %v, want a watchdog", m)
		}
		if m := second.readAny(); !m.IsZero() {
			t.Errorf("the second got %v", m)
		}
		first.close()
		h.stillThere(t, w)
	})
}

// Requests beyond what a peer may have open are answered, not queued.
func TestPeer_asks_too_much(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		requests := make(slow, 10)
		h := alone(w, func(c *Config) {
			c.MaxServing = 2
			c.Applications = []ApplicationConfig{{ID: AppCx, Vendor: Vendor3GPP, Accepts: map[Command]Grammar{UAR: grammarTest}, Handler: requests}}
		})
		r := newRaw(t, w, beta, alpha)
		defer r.close()
		r.open(t)
		for i := range 3 {
			msg := ofAlpha(request(h.Node, "", nil))
			setHopByHop(msg, uint32(i))
			setEndToEnd(msg, uint32(i))
			r.write(msg)
		}
		m := r.read(t)
		if got, _, _ := ResultOf(m); got != ResultTooBusy || m.HopByHop() != 2 {
			t.Errorf("%v to request %d", got, m.HopByHop())
		}
		(<-requests).Reply.Send(success(Message{ofAlpha(request(h.Node, "", nil))}, h.Us(), ""))
		if m := r.read(t); m.HopByHop() != 0 {
			t.Errorf("answer to %d", m.HopByHop())
		}
	})
}
