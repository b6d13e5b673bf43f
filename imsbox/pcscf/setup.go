package pcscf

import (
	"sync"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// A call that is being set up ends with the association of either of its clients too (TS 24.229 5.2.8.1.1; docs/decisions/052): an answer for a caller
// who is lost would reach nobody, and whoever gave it would wait alone. Emergency calls are left alone: who answers them may call back.

// setups are the INVITEs without a final response, by the association of their client. Safe for concurrent use.
type setups struct {
	mu sync.Mutex
	of map[secure.Association]*setup
}

// setup is one INVITE on its way from a client, or to one.
type setup struct {
	exchange *hop.Exchange
	shard    *shard.Shard // where it walks
	end      func(*hop.Exchange)
	next     *setup // of the same association
}

// settingUp takes down that an initial INVITE waits for its final response, and what ends it when the association of its client is gone: at once, if that
// went while the request was on its way here. Another request is none, and nil. setups.remove takes it off.
func (p *PCSCF) settingUp(x *hop.Exchange, in hop.Inbound, client secure.Association, end func(*hop.Exchange)) *setup {
	if in.Msg.Method() != sip.INVITE {
		return nil
	}
	s := &setup{exchange: x, shard: x.Task().Shard(), end: end}
	p.setups.add(client, s)
	if !p.ports.Gm.Alive(client) {
		end(x)
	}
	return s
}

func (l *setups) add(client secure.Association, s *setup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.next = l.of[client]
	l.of[client] = s
}

// remove takes a setup off, when there is a final response; nil is none.
func (l *setups) remove(client secure.Association, s *setup) {
	if s == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.of[client]
	for at := &head; *at != nil; at = &(*at).next {
		if *at == s {
			*at = s.next
			break
		}
	}
	if l.of[client] = head; head == nil {
		delete(l.of, client)
	}
}

// on are the setups of an association that walk on a shard.
func (l *setups) on(sh *shard.Shard, client secure.Association) (list []*setup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := l.of[client]; s != nil; s = s.next {
		if s.shard == sh {
			list = append(list, s)
		}
	}
	return list
}

// giveUp ends what is being set up over an association that is gone, each on its own shard.
func (p *PCSCF) giveUp(a secure.Association) {
	for _, sh := range p.ports.Shards {
		if len(p.setups.on(sh, a)) == 0 {
			continue
		}
		// A shard without room loses it: a timer ends the call then.
		sh.Post(shard.EventFunc(func(sh *shard.Shard) {
			for _, s := range p.setups.on(sh, a) {
				s.end(s.exchange)
			}
		}))
	}
}

// callerLost cancels what is under way for a caller.
func callerLost(x *hop.Exchange) { x.Abort(lost) }

// calleeLost answers in the place of a called client.
func calleeLost(x *hop.Exchange) { x.Lose(lost) }
