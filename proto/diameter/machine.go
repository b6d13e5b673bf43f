package diameter

// Values of Disconnect-Cause (RFC 6733 5.4.3).
const (
	causeRebooting = 0
	causeBusy      = 1
	causeNoWish    = 2
)

// receive takes one message (RFC 6733 5.6). On the shard; m is valid until it returns.
func (c *conn) receive(m Message) {
	switch c.state {
	case stateWaitCER:
		c.receiveCER(m)
		return
	case stateWaitCEA:
		c.receiveCEA(m)
		return
	case stateOpen, stateLeaving:
	default: // something came before the shard knew that the connection stands: it cannot, see run
		return
	}
	c.heard = c.n.sh.Now()
	switch {
	case !m.IsRequest():
		c.n.n.AnswersIn.Add(1)
		c.receiveAnswer(m)
	case m.Application() == AppCommon && m.Command() == DWR:
		c.receiveDWR(m)
	case m.Application() == AppCommon && m.Command() == DPR:
		c.receiveDPR(m)
	case m.Application() == AppCommon && m.Command() == CER: // no update of capabilities (RFC 6737)
		c.send(AppendError(nil, m, c.n.cfg.Identities, Fault{Result: ResultUnableToComply}))
	default:
		c.n.n.RequestsIn.Add(1)
		c.serve(m)
	}
	if m.IsRequest() || m.Command() != DWR {
		c.alive(false)
	}
}

// alive ends a suspicion: something came (RFC 3539 3.4.1). watchdog says that it was the answer to ours.
func (c *conn) alive(watchdog bool) {
	if watchdog {
		c.dwaPending = false
		if c.reopen > 0 {
			if c.reopen--; c.reopen == 0 && c.peer.conn == c {
				c.peer.suspicious = false
			}
		}
	}
	c.suspect = false
}

// startWatchdog begins the life of an open connection. One that must prove itself is asked at once.
func (c *conn) startWatchdog() {
	c.heard = c.n.sh.Now()
	if c.reopen > 0 {
		c.sendDWR()
		return
	}
	c.n.sh.Arm(&c.timer, c.n.jitter(c.n.cfg.Watchdog), (*tick)(c))
}

// watch is the watchdog's timer, Tw (RFC 3539 3.4.1). A message does not arm it anew, it only notes the time: the timer then
// sleeps for the rest.
func (c *conn) watch() {
	tw := c.n.jitter(c.n.cfg.Watchdog)
	quiet := c.n.sh.Now() - c.heard
	switch {
	case quiet < tw:
		tw -= quiet
	case !c.dwaPending:
		c.sendDWR()
		return
	case !c.suspect && c.reopen == 0:
		c.suspect = true
		c.n.n.Suspected.Add(1)
		c.failover()
	default:
		c.peer.suspicious = true
		c.kill(&c.n.n.ClosedWatchdog)
	}
	if c.state == stateOpen {
		c.n.sh.Arm(&c.timer, tw, (*tick)(c))
	}
}

// sendDWR asks whether the peer is there, and gives it Tw to answer.
func (c *conn) sendDWR() {
	c.dwaPending = true
	c.n.sh.Arm(&c.timer, c.n.jitter(c.n.cfg.Watchdog), (*tick)(c))
	c.hopByHop++
	w := Begin(nil, Header{Flags: FlagRequest, Command: DWR, HopByHop: c.hopByHop, EndToEnd: c.n.endToEnd.Add(1)})
	c.n.us(&w)
	if c.n.cfg.OriginState != 0 {
		w.Unsigned32(OriginStateID, c.n.cfg.OriginState)
	}
	c.sendWhole(&w)
}

// us writes Origin-Host and Origin-Realm.
func (n *Node) us(w *Writer) {
	w.Text(OriginHost, n.cfg.Host)
	w.Text(OriginRealm, n.cfg.Realm)
}

// sendWhole sends a message of the base protocol, which is never too long.
func (c *conn) sendWhole(w *Writer) {
	b, _ := w.End()
	c.send(b)
}

// receiveDWR answers a watchdog request (RFC 6733 5.5).
func (c *conn) receiveDWR(m Message) {
	c.n.n.WatchdogsIn.Add(1)
	f := m.Check(grammarDWR)
	if f == nil && !c.ofPeer(m) {
		f = &Fault{Result: ResultInvalidAVPValue}
	}
	if f != nil {
		c.n.n.Malformed.Add(1)
		c.send(AppendError(nil, m, c.n.cfg.Identities, *f))
		return
	}
	w := Begin(nil, Header{Command: DWR, HopByHop: m.HopByHop(), EndToEnd: m.EndToEnd()})
	w.Unsigned32(ResultCode, uint32(ResultSuccess))
	c.n.us(&w)
	if c.n.cfg.OriginState != 0 {
		w.Unsigned32(OriginStateID, c.n.cfg.OriginState)
	}
	c.sendWhole(&w)
}

// ofPeer says whether a message between neighbours names the neighbour.
func (c *conn) ofPeer(m Message) bool { return equalFold(m.Identity(OriginHost), c.peer.cfg.Host) }

// receiveDPR: the peer goes (RFC 6733 5.4). It closes when it has our answer.
func (c *conn) receiveDPR(m Message) {
	if f := m.Check(grammarDPR); f != nil {
		c.n.n.Malformed.Add(1)
		c.send(AppendError(nil, m, c.n.cfg.Identities, *f))
		return
	}
	c.n.n.Disconnects.Add(1)
	a, _ := m.Find(DisconnectCause)
	cause, _ := a.Enumerated()
	c.peer.dismissed = cause == causeNoWish || cause == causeBusy
	w := Begin(nil, Header{Command: DPR, HopByHop: m.HopByHop(), EndToEnd: m.EndToEnd()})
	w.Unsigned32(ResultCode, uint32(ResultSuccess))
	c.n.us(&w)
	c.sendWhole(&w)
	if c.state == stateDead {
		return
	}
	c.state = stateLeaving
	c.failover()
	c.n.sh.Arm(&c.timer, c.n.cfg.Goodbye, (*tick)(c))
}

// disconnect sends DPR; the connection ends with the DPA, or without.
func (c *conn) disconnect(cause int32) {
	c.hopByHop++
	w := Begin(nil, Header{Flags: FlagRequest, Command: DPR, HopByHop: c.hopByHop, EndToEnd: c.n.endToEnd.Add(1)})
	c.n.us(&w)
	w.Enumerated(DisconnectCause, cause)
	c.sendWhole(&w)
	if c.state == stateDead {
		return
	}
	c.state = stateLeaving
	c.n.sh.Arm(&c.timer, c.n.cfg.Goodbye, (*tick)(c))
}

// receiveAnswer takes an answer of the base protocol, or gives it to the request that waits (RFC 6733 6.2.1).
func (c *conn) receiveAnswer(m Message) {
	if m.Application() == AppCommon {
		switch m.Command() {
		case DWR:
			// Whatever the Result-Code: it is alive.
			if c.dwaPending {
				c.alive(true)
				if c.reopen > 0 && c.state == stateOpen { // RFC 3539 paces these by Tw; a peer that answers at once need not wait 90 s
					c.sendDWR()
				}
			}
			return
		case DPR:
			if c.state == stateLeaving {
				c.finish()
			}
			return
		}
	}
	c.answered, c.unresponsive = c.heard, false
	k := c.pending[m.HopByHop()]
	if k == nil || k.app != m.Application() || k.command != m.Command() {
		c.n.n.UnexpectedAnswers.Add(1)
		return
	}
	delete(c.pending, m.HopByHop())
	k.answered(m)
}
