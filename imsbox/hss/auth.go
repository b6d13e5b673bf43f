package hss

import (
	"sync"
	"sync/atomic"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// MultimediaAuth answers MAR; see cx.Server. The steps are those of TS 29.228 6.3.1.
func (h *HSS) MultimediaAuth(t *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	answer, err := h.authenticate(t, r)
	h.counts.note(opMultimediaAuth, err)
	return answer, err
}

func (h *HSS) authenticate(t *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	p, err := h.resolve(t, r.IMPI, r.IMPU, toRegister) // 1, 2, 3
	if err != nil {
		return nil, err
	}
	if !h.offers(&p.owner.privates[p.card], r.Scheme) { // 4: the subscriber's record alone picks the scheme
		return nil, cx.ErrAuthSchemeNotSupported
	}
	if r.ServerName == "" {
		return nil, cx.ErrMissingAVP
	}
	prove := h.cardAuthenticate
	if p.owner.privates[p.card].digest() {
		prove = h.digestAuthenticate
	}
	answer, err := prove(t, &p, r)
	if err != nil {
		return nil, err
	}
	// 5: the S-CSCF's name is kept in memory and becomes durable with the assignment (SAR); the flag is what lets
	// the I-CSCF find the same S-CSCF again for the second REGISTER.
	now := t.Now()
	p.user.setPending(r.ServerName, p.set, p.private, now, now+h.cfg.PendingFor)
	return answer, nil
}

// cardAuthenticate resynchronises if the card asks for it, and makes vectors.
func (h *HSS) cardAuthenticate(t *shard.Task, p *pair, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	algorithm, err := h.algorithm(p.owner, p.card)
	if err != nil {
		return nil, err
	}
	if r.Resync != nil {
		if err := h.resynchronise(t, p, algorithm, r); err != nil {
			return nil, err
		}
	}
	return h.vectors(t, p, algorithm, r)
}

// maa is an answer with room for the one vector that is nearly always asked for.
type maa struct {
	cx.MultimediaAuthAnswer
	one [1]cx.AuthDataItem
}

// vectors draws sequence numbers and makes the vectors, in order.
func (h *HSS) vectors(t *shard.Task, p *pair, algorithm aka.Algorithm, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	m := &maa{MultimediaAuthAnswer: cx.MultimediaAuthAnswer{Result: cx.ResultSuccess, IMPI: r.IMPI, IMPU: r.IMPU}}
	n := int(min(max(r.Items, 1), cx.MaxAuthItems))
	m.Items = m.one[:0]
	if n > len(m.one) {
		m.Items = make([]cx.AuthDataItem, 0, n)
	}
	card := &p.owner.privates[p.card]
	for range n {
		seq, err := h.draw(t, p.owner, card.impi)
		if err != nil {
			return nil, err
		}
		m.Items = append(m.Items, cx.AuthDataItem{Algorithm: card.scheme})
		v := &m.Items[len(m.Items)-1].Vector
		if err := aka.Generate(algorithm, h.ports.Random, aka.MakeSQN(seq, h.cfg.IND), card.amf, v); err != nil {
			return nil, h.unable("generate", err)
		}
		h.counts.vectors.Add(1)
	}
	return &m.MultimediaAuthAnswer, nil
}

// expanded bounds how many cards are kept with their keys opened and expanded, half a kilobyte each: of those that authenticated last.
// The others cost 2 us when they come back. Safe for concurrent use.
type expanded struct {
	mu   sync.Mutex
	kept [4096]*atomic.Pointer[aka.Algorithm]
	next int
}

// keep lets the one that was kept longest go.
func (e *expanded) keep(at *atomic.Pointer[aka.Algorithm]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if oldest := e.kept[e.next]; oldest != nil {
		oldest.Store(nil)
	}
	e.kept[e.next] = at
	e.next = (e.next + 1) % len(e.kept)
}

// algorithm opens the sealed keys of a private identity, unless they still are.
func (h *HSS) algorithm(u *user, private int) (aka.Algorithm, error) {
	if a := u.algorithms[private].Load(); a != nil {
		return *a, nil
	}
	a, err := h.openKeys(&u.privates[private])
	if err != nil {
		return nil, h.unable("open keys", err)
	}
	if u.algorithms[private].CompareAndSwap(nil, &a) {
		h.expanded.keep(&u.algorithms[private])
	}
	return a, nil
}

// checkSealed opens the secret of a private identity and forgets it.
func (h *HSS) checkSealed(p *private) (err error) {
	if p.digest() {
		_, err = h.openHA1(p)
		return err
	}
	_, err = h.openKeys(p)
	return err
}

// resynchronise verifies the token of the card and only then moves the sequence number (TS 33.102 6.3.5,
// TS 33.203 6.1.3). What it decides is durable before the next vector leaves.
func (h *HSS) resynchronise(t *shard.Task, p *pair, algorithm aka.Algorithm, r *cx.MultimediaAuthRequest) error {
	a, err := h.current(t, p.user)
	if err != nil {
		return err
	}
	// TS 29.228 6.3.1 step 4: only the S-CSCF that made the challenge may bring the answer. Without a name, as
	// after a restart, the token itself must prove enough: it is bound to a RAND that the card answered.
	assigned := a.server
	if s, _ := p.user.authenticating(p.set, p.private, t.Now()); s != "" {
		assigned = s
	}
	if assigned != "" && !sameServer(assigned, r.ServerName) {
		return cx.ErrUnableToComply
	}
	sqn, err := aka.OpenAUTS(algorithm, r.Resync.RAND, r.Resync.AUTS)
	if err != nil {
		h.counts.forgedAUTS.Add(1)
		return cx.ErrUnableToComply
	}
	h.counts.resyncs.Add(1)
	impi := p.owner.privates[p.card].impi
	h.noteResync(p.owner, impi, sqn.SEQ())
	return h.moveTo(t, p.owner, impi, sqn.SEQ())
}
