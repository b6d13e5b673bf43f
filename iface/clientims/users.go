package clientims

import (
	"net/netip"
	"slices"
	"sync"

	"imsafe/proto/budget"
	"imsafe/proto/esp"
	"imsafe/secure"
)

// users finds the associations of ipsec-3gpp by the private identity that they are of, or are claimed for. Safe for concurrent use.
type users struct {
	mu      sync.Mutex
	of      map[string][]claim
	servers map[netip.AddrPort]secure.Association // by the client's protected server port
}

// claim is one association of a user: while it waits for an answer, in his name only.
type claim struct {
	user
	association secure.Association
	server      netip.AddrPort
	from        budget.Waiting
	proven      bool
}

// maxClaims bounds what waits in one name: beyond it a crowd makes room for itself (budget.Yields).
const maxClaims = 64

func newUsers() *users {
	return &users{of: map[string][]claim{}, servers: map[netip.AddrPort]secure.Association{}}
}

// claim notes that a waits for an answer in the name of u, whose client comes from there and receives at server, and returns the associations that it takes
// the place of: unfinished ones of the same name and address (TS 33.203 6.1.2.3). standing are those that the name has proven. free is false
// if somebody else receives there (TS 33.203 M.7.1 rule 6).
func (us *users) claim(u user, a secure.Association, server netip.AddrPort, from budget.Waiting) (replaced, standing []secure.Association, free bool) {
	us.mu.Lock()
	defer us.mu.Unlock()
	if holder, taken := us.servers[server]; taken && holder != a && !us.same(u, holder) {
		return nil, nil, false
	}
	all := us.of[u.impi]
	if slices.ContainsFunc(all, func(c claim) bool { return c.association == a && c.proven }) {
		return nil, nil, true // it renews its own
	}
	rest := all[:0]
	var waiting [maxClaims]budget.Waiting
	var places [maxClaims]int // in rest
	n := 0
	for _, c := range all {
		switch {
		case c.association == a:
			continue
		case c.proven:
			standing = append(standing, c.association)
		case c.user == u:
			replaced = append(replaced, c.association)
			continue
		default:
			waiting[n], places[n] = c.from, len(rest)
			n++
		}
		rest = append(rest, c)
	}
	if n == maxClaims {
		i := places[budget.Yields(waiting[:], from)]
		replaced = append(replaced, rest[i].association)
		rest = slices.Delete(rest, i, i+1)
	}
	us.of[u.impi] = append(rest, claim{user: u, association: a, server: server, from: from})
	clear(all[min(len(rest)+1, len(all)):])
	us.servers[server] = a
	return replaced, standing, true
}

// same reports whether a is claimed for u.
func (us *users) same(u user, a secure.Association) bool {
	return slices.ContainsFunc(us.of[u.impi], func(c claim) bool { return c.association == a && c.user == u })
}

// prove notes that a has authenticated as u, and returns the associations that end with that: older ones of the same user at the same
// address, whose client has begun anew (TS 33.203 7.4).
func (us *users) prove(u user, a secure.Association) (replaced []secure.Association) {
	us.mu.Lock()
	defer us.mu.Unlock()
	claims := us.of[u.impi]
	for i := range claims {
		switch c := &claims[i]; {
		case c.association == a:
			c.proven = true
		case c.proven && c.user == u:
			replaced = append(replaced, c.association)
		}
	}
	return replaced
}

// forget forgets a.
func (us *users) forget(u user, a secure.Association) {
	us.mu.Lock()
	defer us.mu.Unlock()
	rest := slices.DeleteFunc(us.of[u.impi], func(c claim) bool {
		gone := c.association == a
		if gone && us.servers[c.server] == a {
			delete(us.servers, c.server)
		}
		return gone
	})
	if len(rest) == 0 {
		delete(us.of, u.impi)
		return
	}
	us.of[u.impi] = rest
}

// claims returns the associations in the name of impi.
func (us *users) claims(impi string) []claim {
	us.mu.Lock()
	defer us.mu.Unlock()
	return slices.Clone(us.of[impi])
}

// pending reports whether ref is an unfinished set of u, which a new offer takes the place of.
func (us *users) pending(u user, ref esp.Ref, d *Door) bool {
	return slices.ContainsFunc(us.claims(u.impi), func(c claim) bool {
		a, known := d.lookup(c.association)
		return known && c.user == u && a.sa != nil && a.sa.find(ref) == fresh
	})
}
