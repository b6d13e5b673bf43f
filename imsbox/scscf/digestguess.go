package scscf

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// How many wrong answers are borne, and for how long nobody is heard after them. A person who mistypes has five tries. Who guesses has some five
// hundred a day of a name from an address, and two thousand of a name, or from an address; when many guess, a hundred from an address
// (NIST SP 800-63B 5.2.2 allows a hundred in a row for each name, and no more).
const (
	guessesOfPair    = 5   // of one private identity from one address
	guessesOfAddress = 25  // of any from one address: a list of names with one password
	guessesOfName    = 25  // of one from any address
	guessesOfAll     = 200 // of any from any address, within banFor of the first: one password for many names, from many addresses; then
	guessesInSpray   = 1   // of any from one address
	banFor           = 15 * time.Minute
	maxTallies       = 1 << 16
	maxSubjects      = 3 // of one answer
)

// guesses counts wrong answers of SIP Digest (TS 33.203 N.2: guessing is the threat). A ban is one of whoever guesses: a
// client whose association is proven already is not touched by it, and one that comes from where its name has been proven before
// by the guesses of others is not: else whoever guesses locks out whom he likes (SP 800-63B 5.2.2, addresses from which the
// subscriber has been authenticated before). Safe for concurrent use.
type guesses struct {
	wrong atomic.Uint64 // all that were counted

	mu      sync.Mutex
	tallies map[guessed]*tally
	all     tally // of the whole home network; it ends banFor after it began
}

func newGuesses() guesses {
	return guesses{tallies: map[guessed]*tally{}}
}

// guessed is what wrong answers are counted of: a private identity, a network, or the one from the other.
type guessed struct {
	impi string
	from netip.Prefix
}

// tally ends, with its ban, at until.
type tally struct {
	wrong int
	until time.Duration
}

// subject is a key of tallies and how many wrong answers it has.
type subject struct {
	key    guessed
	budget int
	others bool // its guesses may be somebody else's: they are not held against whoever has been proven where he is
}

// subjects are what is counted of a guess. Clients of whom no node has said where they are must not share a place: then only the name counts. They are appended
// to all.
func subjects(all []subject, impi string, from netip.Addr) []subject {
	name := subject{guessed{impi: impi}, guessesOfName, true}
	if !from.IsValid() {
		return append(all, name)
	}
	network := networkOf(from)
	return append(all, subject{guessed{impi, network}, guessesOfPair, false}, subject{guessed{from: network}, guessesOfAddress, false}, name)
}

// networkOf is whom an address is counted for.
func networkOf(from netip.Addr) netip.Prefix {
	bits := from.BitLen()
	if from.Is6() {
		bits = 64 // one household has as many addresses as it likes
	}
	network, _ := from.WithZone("").Prefix(bits) // bits fit
	return network
}

// banned reports whether answers for impi from that address are not heard now; known, that the name has been proven there lately (origins).
func (g *guesses) banned(impi string, from netip.Addr, known bool, now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range subjects(make([]subject, 0, maxSubjects), impi, from) {
		if t := g.tallies[s.key]; t != nil && t.wrong >= s.budget && t.until > now && !(s.others && known) {
			return true
		}
	}
	return false
}

// sprayed reports whether so much is guessed everywhere that an address has one guess, not twenty-five. Whoever guesses needs an address for each, and
// locks out nobody: who knows his password is heard from any that has guessed nothing, and where he has been proven before.
func (g *guesses) sprayed(from netip.Addr, known bool, now time.Duration) bool {
	if known || !from.IsValid() {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all.wrong < guessesOfAll || g.all.until <= now {
		return false
	}
	t := g.tallies[guessed{from: networkOf(from)}]
	return t != nil && t.wrong >= guessesInSpray && t.until > now
}

// failed counts a wrong answer.
func (g *guesses) failed(impi string, from netip.Addr, now time.Duration) {
	g.wrong.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all.until <= now {
		g.all = tally{until: now + banFor} // it is not put off by the next: somebody mistypes every day
	}
	g.all.wrong++
	for _, s := range subjects(make([]subject, 0, maxSubjects), impi, from) {
		t := g.tallies[s.key]
		if t == nil {
			g.makeRoom(now)
			t = &tally{}
			g.tallies[s.key] = t
		}
		if t.until <= now {
			t.wrong = 0
		}
		t.wrong++
		t.until = now + banFor
	}
}

// succeeded forgives the typing errors of whoever knows the password, where he is.
func (g *guesses) succeeded(impi string, from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tallies, subjects(make([]subject, 0, maxSubjects), impi, from)[0].key)
}

// makeRoom drops some of what is over. If the table is full, it drops of a few the one with the fewest wrong answers: who wants
// to be forgotten must make others guess more than he did.
func (g *guesses) makeRoom(now time.Duration) {
	const looks = 16
	if len(g.tallies) < maxTallies {
		return
	}
	n, least := 0, guessed{}
	for key, t := range g.tallies {
		if t.until <= now {
			delete(g.tallies, key)
		} else if least == (guessed{}) || t.wrong < g.tallies[least].wrong {
			least = key
		}
		if n++; n == looks {
			break
		}
	}
	if len(g.tallies) >= maxTallies {
		delete(g.tallies, least)
	}
}

// WrongDigests is how many answers to challenges of SIP Digest were wrong.
func (s *SCSCF) WrongDigests() uint64 {
	if s.digests == nil {
		return 0
	}
	return s.digests.guesses.wrong.Load()
}
