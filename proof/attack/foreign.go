package attack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"imsafe/client/ue"
	"imsafe/proto/sip"
)

// Ways are the accesses by which a variant can be aimed at a foreign target, or why there are none. What only imsafe's own configuration, platforms
// and files make possible cannot be asked of a system that the runner has not started.
func (a *Attack) Ways(v *Variant, s *Site) (ways []Access, why string) {
	if why := a.lacks(v, s); why != "" {
		return nil, why
	}
	carried := slices.Clone(a.Accesses(v))
	if slices.Contains(carried, TLS) && slices.Contains(carried, IPsec) {
		carried = append(carried, UDP, TCP) // SIP is all that matters to it
	} else if !slices.Equal(carried, []Access{IPsec}) {
		carried = append(carried, a.Carried...)
	}
	var missing []string
	for _, access := range carried {
		if access != IPsec && s.At(access).IsValid() {
			ways = append(ways, access)
		} else {
			missing = append(missing, string(access))
		}
	}
	if ways == nil {
		return nil, "the target gives no way in over " + strings.Join(missing, " or ")
	}
	return ways, ""
}

// lacks says what a foreign target would have to be or give beside an address; "" if nothing.
func (a *Attack) lacks(v *Variant, s *Site) string {
	over := a.Accesses(v)
	is := func(access Access) bool { return slices.Equal(over, []Access{access}) }
	switch {
	case s.Passwords() && (v.Card != "" || is(IPsec)):
		return "needs a card: " + cmp.Or(v.Card, "the keys of ipsec-3gpp are those of AKA")
	case v.Ours != "":
		return v.Ours
	case v.Position == LocalAccount:
		return "it takes an account on the target's own host"
	case is(ISC) || is(Enrol) || is(Sh):
		return "it takes service platforms that the target's operator has approved for the run"
	case is(Cx):
		return "it takes certificates of the target's own nodes"
	case is(IPsec):
		return "it is about ipsec-3gpp, which is spoken with targets of the runner's own alone"
	case a.Media && is(TLS): // what goes over every access is about signalling
		return "it takes a media anchor whose ports are known"
	case a.Small:
		return "its load is for a target with little room; one that fills another is more than a test may do"
	case a.Digest && (s.Users[Dave] == nil || s.Users[Dave].Password == ""):
		return "it takes a subscriber without a card, dave"
	case a.Neighbours > 0:
		return "it takes many subscribers with passwords"
	case a.Premium && s.Premium == "":
		return "it takes a number of carol's that costs"
	}
	return ""
}

// Telephones are the subscribers that every foreign target must have, the victim first.
func Telephones() []string { return []string{Alice, Bob, Carol, Mallory} }

// Leave takes back what the run has bound: each telephone and each hand what it has registered itself, and with all, or if one of them is gone,
// whatever else stands in the names of the subscribers (RFC 3261 10.2.2). It is for foreign targets; others end with the run.
func (f *Field) Leave(ctx context.Context, all bool) error {
	var failed []error
	for _, p := range f.parties {
		if now, err := p.UE.Registration(ctx); err == nil && now.State == ue.Registered {
			failed = append(failed, left(p.Name, p.UE.Deregister(ctx)))
		}
	}
	for _, h := range slices.Clone(f.hands) {
		if h.ended() {
			all = all || len(h.bound) > 0
			continue
		}
		for _, r := range h.bound {
			r.Expires = 0
			failed = append(failed, left(r.IMPU, h.takesBack(ctx, r)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Users)) {
		if !all {
			break
		}
		h, err := f.hand(ctx, f.honest, f.Users[name], nil)
		if err == nil {
			err = h.takesBack(ctx, Registering{User: f.Users[name], Contact: "*"})
			h.Close()
		}
		failed = append(failed, left(name, err))
	}
	return errors.Join(failed...)
}

// takesBack registers what binds nothing any more.
func (h *Hand) takesBack(ctx context.Context, r Registering) error {
	answer, err := h.RegisterAs(ctx, r)
	if err == nil && answer.Status() >= 500 {
		err = fmt.Errorf("answered %d", answer.Status())
	}
	return err
}

func left(who string, err error) error {
	if err != nil {
		return fmt.Errorf("attack: a registration of %s may stand still: %w", who, err)
	}
	return nil
}

// here is an address of this host at which the target reaches media of a hand.
func (f *Field) here() netip.Addr {
	if f.Foreign && len(f.hands) > 0 {
		if at, err := netip.ParseAddrPort(f.hands[0].conn.LocalAddr().String()); err == nil {
			return at.Addr()
		}
	}
	return f.edge().Addr()
}

// answers counts the final answers to the attacker by method and status. Safe for concurrent use.
type answers struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *answers) add(m *sip.Message) {
	key := fmt.Sprintf("%s %d", cmp.Or(m.CSeqMethod().String(), "other"), m.Status())
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[string]int{}
	}
	a.n[key]++
}

// Answers are the final answers that the attacker got, "MESSAGE 403 (10)" for example, sorted.
func (f *Field) Answers() []string {
	f.answers.mu.Lock()
	defer f.answers.mu.Unlock()
	var all []string
	for key, n := range f.answers.n {
		all = append(all, fmt.Sprintf("%s (%d)", key, n))
	}
	slices.SortFunc(all, cmp.Compare)
	return all
}
