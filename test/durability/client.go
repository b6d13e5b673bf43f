package durability

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// user is a subscriber, and what was promised to it. It belongs to one worker; the others look at it when that rests.
type user struct {
	name, impi, impu string
	k, opc           [16]byte
	card             *aka.Milenage
	cseq             uint32
	boot             string // part of the Call-ID
	generation       int    // of the last registration that was tried

	known   promise
	doubt   []promise            // of changes that were asked for and not answered: any of them may have happened
	numbers map[aka.SQN]aka.RAND // of all challenges
	leaving bool                 // it is being removed at this moment
	history []string             // the last events, for people
}

func (u *user) note(format string, args ...any) {
	u.history = append(u.history[max(0, len(u.history)-24):], fmt.Sprintf(format, args...))
}

// promise is what was acknowledged last: whether the user is a subscriber, and which registration stands, 0 for none.
type promise struct {
	provisioned bool
	generation  int
}

func newUser(i int) *user {
	u := &user{name: fmt.Sprintf("user%06d", i), boot: fmt.Sprintf("%08x", rand.Uint32()), numbers: map[aka.SQN]aka.RAND{}}
	u.impi, u.impu = u.name+"@"+Domain, "sip:"+u.name+"@"+Domain
	for j := range u.k {
		u.k[j], u.opc[j] = byte(rand.Uint32()), byte(rand.Uint32())
	}
	u.card = aka.NewMilenage(u.k, u.opc)
	return u
}

// subscriber is what the operator enters, as JSON: hss.Subscriber does not write its keys.
func (u *user) subscriber() map[string]any {
	return map[string]any{"impi": u.impi, "k": hex.EncodeToString(u.k[:]), "opc": hex.EncodeToString(u.opc[:]),
		"scheme": "AKAv1-MD5", "public": []map[string]any{{"impu": u.impu}}}
}

// client is one UDP socket. It is used by one goroutine.
type client struct {
	conn     net.Conn
	pool     *sip.Pool
	branches int
	boot     string
	buf      []byte
}

func dial(address string) (*client, error) {
	conn, err := net.Dial("udp4", address)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, pool: sip.NewPool(sip.Limits{}), boot: fmt.Sprintf("%08x", rand.Uint32()), buf: make([]byte, 64<<10)}, nil
}

// message is the answer to a first REGISTER: a challenge, or only the status of a refusal.
type message struct {
	*sip.Message
	status int
}

// errSilent: no answer. The node was killed, or the datagram was lost.
var errSilent = errors.New("durability: no answer")

// errReused and errNotGenuine are violations.
var (
	errReused     = errors.New("durability: a sequence number was used twice")
	errNotGenuine = errors.New("durability: the challenge is not genuine")
)

// The forms of a REGISTER.
const (
	asking  = -1
	leaving = 0
	staying = 3600
)

// register sends a REGISTER and returns its answer. answer is a challenge to be answered, or nil.
func (c *client) register(ctx context.Context, u *user, seconds int, answer *sip.Message) (*sip.Message, error) {
	c.branches++
	u.cseq++
	branch := fmt.Sprintf("z9hG4bK%s-%d", c.boot, c.branches)
	local := c.conn.LocalAddr().String()
	m := c.pool.NewRequest(sip.REGISTER, "sip:"+Domain)
	defer m.Release()
	m.AppendString(sip.HdrVia, fmt.Sprintf("SIP/2.0/UDP %s;rport;branch=%s", local, branch))
	m.AppendString(sip.HdrMaxForwards, "70")
	m.AppendString(sip.HdrFrom, "<"+u.impu+">;tag=r")
	m.AppendString(sip.HdrTo, "<"+u.impu+">")
	m.AppendString(sip.HdrCallID, u.name+"-"+u.boot)
	m.AppendString(sip.HdrCSeq, fmt.Sprintf("%d REGISTER", u.cseq))
	if seconds != asking { // the generation tells registrations apart that replace each other
		m.AppendString(sip.HdrContact, fmt.Sprintf("<sip:%s@127.0.0.1:9>;generation=%d;expires=%d", u.name, u.generation, seconds))
	}
	credentials := sip.Credentials{Username: []byte(u.impi), Realm: []byte(Domain), URI: []byte("sip:" + Domain), Nonce: []byte{}, Response: []byte{}}
	if answer != nil {
		if err := u.answer(answer, &credentials); err != nil {
			return nil, err
		}
	}
	m.Append(sip.HdrAuthorization, credentials.AppendTo(nil))
	return c.exchange(ctx, m.AppendTo(nil), branch)
}

// exchange sends octets, again if need be, until the answer with the branch comes (RFC 3261 17.1.2). On loopback nothing
// is lost but for want of room, so the timers are short.
func (c *client) exchange(ctx context.Context, octets []byte, branch string) (*sip.Message, error) {
	interval := 100 * time.Millisecond
	for range 6 {
		if ctx.Err() != nil {
			return nil, errSilent
		}
		if _, err := c.conn.Write(octets); err != nil { // nobody listens: the socket says so once
			if !pause(ctx, 5*time.Millisecond) {
				return nil, errSilent
			}
		}
		m, err := c.receive(branch, interval)
		if m != nil || err != nil {
			return m, err
		}
		interval *= 2
	}
	return nil, errSilent
}

// receive waits for the answer with the branch; nil without an error if there is none within limit.
func (c *client) receive(branch string, limit time.Duration) (*sip.Message, error) {
	deadline := time.Now().Add(limit)
	for {
		if err := c.conn.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
		n, err := c.conn.Read(c.buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil { // ECONNREFUSED: the node is away
			time.Sleep(5 * time.Millisecond)
			return nil, nil
		}
		m, err := c.pool.Parse(c.buf[:n])
		if err != nil {
			return nil, fmt.Errorf("durability: an answer does not parse: %w", err)
		}
		if via, err := m.TopVia(); err == nil && string(via.Branch) == branch && m.Status() >= 200 {
			return m, nil
		}
		m.Release()
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// open reads a challenge as the card does, and remembers its number.
func (u *user) open(m *sip.Message) (sip.Challenge, aka.Nonce, aka.Opened, error) {
	challenge, err := sip.ParseChallenge(m.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return challenge, aka.Nonce{}, aka.Opened{}, fmt.Errorf("%w: %s: %w", errNotGenuine, u.name, err)
	}
	nonce, err := aka.ParseNonce(challenge.Nonce)
	if err != nil {
		return challenge, nonce, aka.Opened{}, fmt.Errorf("%w: %s: %w", errNotGenuine, u.name, err)
	}
	opened, err := aka.Open(u.card, nonce.RAND, nonce.AUTN)
	if err != nil {
		return challenge, nonce, opened, fmt.Errorf("%w: %s: %w", errNotGenuine, u.name, err)
	}
	if was, used := u.numbers[opened.SQN]; used && was != nonce.RAND {
		return challenge, nonce, opened, fmt.Errorf("%w: SEQ %d of %s", errReused, opened.SQN.SEQ(), u.name)
	}
	u.numbers[opened.SQN] = nonce.RAND
	return challenge, nonce, opened, nil
}

// answer writes the answer to a challenge (RFC 3310 3.3).
func (u *user) answer(m *sip.Message, c *sip.Credentials) error {
	challenge, _, opened, err := u.open(m)
	if err != nil {
		return err
	}
	c.Realm, c.Nonce, c.Algorithm = challenge.Realm, challenge.Nonce, challenge.Algorithm
	c.QOP, c.NC, c.Cnonce = []byte("auth"), []byte("00000001"), []byte("0a4f113b")
	digest := aka.Digest{Algorithm: aka.AKAv1MD5, Username: c.Username, Realm: c.Realm, Nonce: c.Nonce, URI: c.URI,
		Method: []byte("REGISTER"), QOP: c.QOP, NC: c.NC, Cnonce: c.Cnonce}
	c.Response = digest.AppendResponse(nil, aka.AKAv1MD5.AppendPassword(nil, &opened.RES, &opened.CK, &opened.IK))
	return nil
}

// generation reads which registration a 200 to REGISTER tells of, 0 for none.
func generation(m *sip.Message) (int, error) {
	switch n := m.Count(sip.HdrContact); n {
	case 0:
		return 0, nil
	case 1:
		contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
		if err != nil {
			return 0, err
		}
		value, _ := contact.Param("generation")
		var g int
		_, err = fmt.Sscan(string(value), &g)
		return g, err
	default:
		return 0, fmt.Errorf("durability: %d contacts where each replaces the one before", n)
	}
}
