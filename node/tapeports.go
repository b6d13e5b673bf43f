package node

import (
	"strings"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/iq"
	"imsafe/trace/ladder"
)

// tapedCx is Cx with what a function asks on the ladder of whoever it asks for.
type tapedCx struct {
	cx.Server
	tape  *Tape
	who   ladder.Party
	cover ladder.Cover
}

// cx puts what who asks of an HSS on the tape.
func (t *Tape) cx(hss cx.Server, who ladder.Party, remote bool) cx.Server {
	if t == nil || hss == nil {
		return hss
	}
	cover := ladder.Process
	if remote {
		cover = ladder.MTLS
	}
	return &tapedCx{hss, t, who, cover}
}

// asks draws a question and returns what draws its answer. TS 29.229 6.1 gives the names.
func (c *tapedCx) asks(task *shard.Task, what string, lines ...string) func(error) {
	c.tape.mu.Lock()
	under := c.tape.under[task]
	story := uint64(0)
	if under != nil {
		story = under.top().Story
	}
	c.tape.mu.Unlock()
	if story == 0 {
		return func(error) {}
	}
	now := c.tape.clock.Wall
	at := c.tape.ring.Go(story, ladder.Arrow{At: now(), From: c.who, To: ladder.HSS, What: what + "-Request", Cover: c.cover, Lines: lines})
	return func(err error) {
		a := ladder.Arrow{At: now(), What: what + "-Answer", Status: 200}
		if err != nil {
			a.What, a.Status = strings.TrimPrefix(strings.TrimPrefix(err.Error(), "cx: "), "diameter: "), 500
		}
		c.tape.ring.Answer(at, a)
	}
}

// UserAuthorization implements cx.Server.
func (c *tapedCx) UserAuthorization(t *shard.Task, r *cx.UserAuthorizationRequest) (*cx.UserAuthorizationAnswer, error) {
	answered := c.asks(t, "User-Authorization")
	a, err := c.Server.UserAuthorization(t, r)
	answered(err)
	return a, err
}

// ServerAssignment implements cx.Server.
func (c *tapedCx) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	answered := c.asks(t, "Server-Assignment", "Server-Assignment-Type: "+r.Type.String())
	a, err := c.Server.ServerAssignment(t, r)
	answered(err)
	return a, err
}

// LocationInfo implements cx.Server.
func (c *tapedCx) LocationInfo(t *shard.Task, r *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	answered := c.asks(t, "Location-Info")
	a, err := c.Server.LocationInfo(t, r)
	answered(err)
	return a, err
}

// MultimediaAuth implements cx.Server.
func (c *tapedCx) MultimediaAuth(t *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	answered := c.asks(t, "Multimedia-Auth")
	a, err := c.Server.MultimediaAuth(t, r)
	answered(err)
	return a, err
}

// tapedIq is the media anchor with what the P-CSCF asks of it on the ladder of the call.
type tapedIq struct {
	iq.Gateway
	tape *Tape
}

// iq puts what is asked of a media anchor on the tape.
func (t *Tape) iq(g iq.Gateway) iq.Gateway {
	if t == nil || g == nil {
		return g
	}
	return &tapedIq{g, t}
}

// Reserve implements iq.Gateway.
func (g *tapedIq) Reserve(s iq.Session, m iq.Medium) (iq.Stream, error) {
	out, err := g.Gateway.Reserve(s, m)
	story := g.tape.callOf(m.User)
	a := ladder.Arrow{What: "Reserve " + m.Kind, Cover: ladder.Process}
	if err != nil {
		a.What += ": " + err.Error()
	} else {
		g.tape.remember(out.Session, story)
	}
	g.tape.tellMedia(story, a)
	return out, err
}

// Configure implements iq.Gateway.
func (g *tapedIq) Configure(s iq.Session, stream int, side iq.Side, b iq.Branch, r iq.Remote) error {
	err := g.Gateway.Configure(s, stream, side, b, r)
	a := ladder.Arrow{What: "Configure " + side.String(), Cover: ladder.Process, Lines: []string{"Keying: " + r.Keying.String()}}
	if err != nil {
		a.What += ": " + err.Error()
	}
	g.tape.tellMedia(g.tape.storyOf(s), a)
	return err
}

// Release implements iq.Gateway.
func (g *tapedIq) Release(s iq.Session) {
	g.Gateway.Release(s)
	if story := g.tape.storyOf(s); story != 0 {
		g.tape.tellMedia(story, ladder.Arrow{What: "Release", Cover: ladder.Process})
		g.tape.mu.Lock()
		delete(g.tape.media, s)
		g.tape.mu.Unlock()
	}
}

func (t *Tape) tellMedia(story uint64, a ladder.Arrow) {
	if story != 0 {
		a.At, a.From, a.To = t.clock.Wall(), ladder.PCSCF, ladder.Media
		t.ring.Go(story, a)
	}
}

// callOf is the story that a user's P-CSCF is busy with now.
func (t *Tape) callOf(user string) (story uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.under {
		if p.means(user) {
			story = max(story, p.top().Story)
		}
	}
	return story
}

func (t *Tape) storyOf(s iq.Session) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.media[s]
}

func (t *Tape) remember(s iq.Session, story uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.media) < maxUnder {
		t.media[s] = story
	}
}
