package phone

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/secure"
	"imsafe/test/kernelesp/handset"
	"imsafe/test/live"
)

// overTCP is a telephone that registers, writes and is reached over TCP alone, in compact forms.
func (b *bench) overTCP(t *testing.T, family string) {
	n := b.nodes[legacy]
	friend, p := n.witness(t, "tcp"+family), b.phone(t, n, family, "tcp", func(c *handset.Config) { c.TCP, c.Terse = true, true }, cbc)
	first := p.challenge(handset.Clear, "tcp")
	p.answer("tcp")
	for _, size := range []int{10, 3000, 30000} {
		p.writes(friend, first, "tcp", size)
		p.hears(friend, size, first, "tcp")
	}
	second := p.challenge(first, "tcp")
	p.hears(friend, 100, first, "tcp")
	p.answer("tcp")
	p.writes(friend, second, "tcp", 100)
	p.hears(friend, 100, second, "tcp")
	p.leaves(second, "tcp")
	p.gone(friend)
}

// refreshes is one whose network takes its REGISTERs without a challenge, and lengthens the life of what stands.
func (b *bench) refreshes(t *testing.T, family string) {
	n := b.nodes[handsets]
	friend, p := n.witness(t, "refresh"+family), b.phone(t, n, family, "refresh", nil, cbc)
	first := p.challenge(handset.Clear, "udp")
	p.answer("udp")
	for _, transport := range []string{"udp", "tcp", "udp"} {
		var s handset.Status
		p.do("Challenge", handset.Asking{Set: first, Transport: transport, Expires: 600000}, &s)
		if s.Code != 200 || s.Expires < 60 {
			t.Fatalf("a refresh was answered %+v\n%s", s, tail(n.Log()))
		}
		p.writes(friend, first, transport, 100)
		p.hears(friend, 100, first, transport)
	}
	p.leaves(first, "udp")
	p.gone(friend)
}

// offersEverything is one that offers all it has, the worst first: the network chooses the first of its own list (TS 33.203 7.2).
func (b *bench) offersEverything(t *testing.T, family string) {
	var all []handset.Pair
	for _, p := range exempt {
		all = append(all, p)
	}
	all = append(all, handset.Pair{Alg: "hmac-sha-1-96", EAlg: "null"}, handset.Pair{Alg: "aes-gmac", EAlg: "null"}, cbc)
	for i, want := range map[int]handset.Pair{handsets: cbc, strict: gcm} {
		n, offered := b.nodes[i], all
		if i == strict {
			offered = append(slices.Clone(all), gcm)
		}
		friend, p := n.witness(t, "everything"+family), b.phone(t, n, family, "everything", nil, offered...)
		var s handset.Status
		p.do("Challenge", handset.Asking{Set: handset.Clear, Transport: "udp", Expires: 600000}, &s)
		if s.Code != 401 || s.Chosen != want {
			t.Fatalf("at %s: %+v", n.name, s)
		}
		p.answer("udp")
		p.writes(friend, s.Set, "udp", 100)
		p.hears(friend, 100, s.Set, "udp")
	}
}

// keeps is a client that gives its former associations up after half a minute, and says nothing meanwhile: it is reached over the former, then over the
// new.
func (b *bench) keeps(t *testing.T, family string) {
	n := b.nodes[legacy]
	friend, p := n.witness(t, "keeps"+family), b.phone(t, n, family, "keeps", nil, gcm)
	first := p.challenge(handset.Clear, "udp")
	p.answer("udp")
	second := p.challenge(first, "udp")
	p.answer("udp")
	answered := time.Now()
	p.hears(friend, 100, first, "udp")
	time.Sleep(time.Until(answered.Add(switched)))
	p.hears(friend, 100, second, "udp")
	time.Sleep(time.Until(answered.Add(30 * time.Second)))
	p.do("Drop", first, nil)
	p.hears(friend, 100, second, "udp")
	p.hears(friend, 3000, second, "tcp")
}

// drops is a client that has its former associations no more when it answers the challenge. What the network sends by them all the same is the
// XfrmInNoStates of the guest.
func (b *bench) drops(t *testing.T, family string) {
	n := b.nodes[legacy]
	friend, p := n.witness(t, "drops"+family), b.phone(t, n, family, "drops", nil, cbc)
	set := p.challenge(handset.Clear, "udp")
	p.answer("udp")
	for range 3 {
		next := p.challenge(set, "udp")
		p.do("Drop", set, nil)
		set = next
		p.answer("udp")
		p.writes(friend, set, "udp", 100) // it has used them: nothing comes by the former
		p.hears(friend, 100, set, "udp")
		p.hears(friend, 3000, set, "tcp")
	}
	next := p.challenge(set, "udp") // and once it says nothing
	p.do("Drop", set, nil)
	p.answer("udp")
	p.hears(friend, 100, next, "udp") // the second time it is sent; the answer to it is a message by the new ones
	p.hears(friend, 3000, next, "tcp")
	p.writes(friend, next, "udp", 100)
	p.hears(friend, 3000, next, "tcp")
}

// switched is when a client that says nothing is reached over its new associations (docs/divergences.md).
const switched = 11 * time.Second

// outlives is a client that goes on over associations whose time is over: after a re-authentication (64*T1), and after it has left.
func (b *bench) outlives(t *testing.T, family string) {
	n := b.nodes[strict]
	friend, p := n.witness(t, "outlives"+family), b.phone(t, n, family, "outlives", nil, gcm)
	first := p.challenge(handset.Clear, "udp")
	p.answer("udp")
	second := p.challenge(first, "udp")
	p.answer("udp")
	p.writes(friend, first, "udp", 100)
	p.writes(friend, second, "udp", 100)
	time.Sleep(64*quick + sweep)
	p.silent(first, "udp")
	p.do("Drop", first, nil)
	p.writes(friend, second, "udp", 100)
	p.hears(friend, 100, second, "udp")
	p.leaves(second, "udp")
	p.do("Drop", second+1, nil) // of the challenge on leaving
	time.Sleep(64*quick + sweep)
	p.silent(second, "udp")
}

// sweep is how long what has ended may wait for the door's sweeper (iface/clientims), which looks at one client in a second where there are few.
const sweep = 10 * time.Second

// calls are calls with a client over TLS, both ways, with descriptions as telephones write them, over UDP in fragments and over TCP. Each side hangs up
// once.
func (b *bench) calls(t *testing.T, family string) {
	n := b.nodes[legacy]
	friend, p := n.witness(t, "calls"+family), b.phone(t, n, family, "calls", nil, gcm)
	set := p.challenge(handset.Clear, "udp")
	p.answer("udp")
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	for _, transport := range []string{"udp", "tcp"} {
		p.calls(ctx, friend, set, transport)
		out, err := friend.Call(ctx, p.user.IMPU, ue.Voice{})
		if err == nil {
			_, err = out.Until(ctx, ue.Answered)
		}
		if err != nil {
			t.Fatalf("%s calls %s: %v\n%s", friend.User.Name, p.user.Name, err, tail(n.Log()))
		}
		invite := p.next()
		if invite.Method != "INVITE" || invite.Asserted != friend.User.IMPU || invite.Set != set || !strings.Contains(invite.Body, "m=audio ") {
			t.Fatalf("%s heard %+v", p.user.Name, invite)
		}
		out.Hangup()
		if bye := p.next(); bye.Method != "BYE" || bye.Dialog != invite.Dialog {
			t.Fatalf("%s heard %+v", p.user.Name, bye)
		}
		<-out.Done()
	}
}

// calls calls a friend, who answers, and hangs up.
func (p *phone) calls(ctx context.Context, friend *live.UE, set int, transport string) {
	p.t.Helper()
	var s handset.Status
	called := p.Go(handset.Name+".Call", handset.Asking{To: friend.User.IMPU, Set: set, Transport: transport}, &s, nil)
	var in *ue.Call
	select {
	case in = <-friend.Calls:
	case <-called.Done:
		p.t.Fatalf("%s calls: %d, %v\n%s", p.user.Name, s.Code, called.Error, tail(p.n.Log()))
	case <-ctx.Done():
		p.t.Fatalf("%s never rang", friend.User.Name)
	}
	in.Ring()
	in.Answer(ue.Voice{})
	if <-called.Done; called.Error != nil || s.Code != 200 || !strings.Contains(s.Body, "m=audio ") {
		p.t.Fatalf("%s calls: %+v, %v\n%s", p.user.Name, s, called.Error, tail(p.n.Log()))
	}
	if _, err := in.Until(ctx, ue.Answered); err != nil {
		p.t.Fatalf("the ACK of %s: %v", p.user.Name, err)
	}
	if who, asserted := in.Peer(); who != p.user.IMPU || !asserted {
		p.t.Errorf("%s is called by %q", friend.User.Name, who)
	}
	var left handset.Status
	p.do("Hangup", handset.Asking{To: s.Dialog, Set: set, Transport: transport}, &left)
	if <-in.Done(); left.Code != 200 {
		p.t.Errorf("BYE was answered %d", left.Code)
	}
}

// inClear is SIP outside associations, of a telephone that has some: to the protected ports, where nobody is, and to the unprotected one, where it
// is not heard any more (TS 33.203 7.1). Nothing of it is ever answered.
func (b *bench) inClear(t *testing.T, family string) {
	n := b.nodes[map[string]int{"IPv4": strict, "IPv6": handsets}[family]] // the gate's counters are a node's
	friend, p := n.witness(t, "clear"+family), b.phone(t, n, family, "clear", func(c *handset.Config) { c.Open = true }, gcm)
	methods := []string{"INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "BYE", "PUBLISH", "ACK"}
	counted := uint64(len(methods) - 1) // an ACK has no answer that could be refused
	speak := func(what handset.Plain) {
		t.Helper()
		what.Methods, what.Wait = methods, time.Second
		var came []string
		p.do("Speak", what, &came)
		if len(came) > 0 && !(what.Transport == "tcp" && what.To == 5060 && len(came) == 1) { // TCP is served on the unprotected port
			t.Errorf("%+v was answered: %q", what, came)
		}
	}
	refused := func() uint64 {
		count, _ := n.Gate.Counts(secure.CIAuthorizationProtectedPort)
		return count
	}
	everywhere := func() {
		for _, port := range []uint16{6060, 6061, 6062, 6063, 6064} {
			speak(handset.Plain{Transport: "udp", To: port})
			speak(handset.Plain{Transport: "udp", To: port, Raw: true, From: 38001})
			speak(handset.Plain{Transport: "tcp", To: port})
		}
		for _, transport := range []string{"udp", "tcp"} {
			before := refused()
			speak(handset.Plain{Transport: transport, To: 5060})
			for late := time.Now().Add(live.Patience); refused()-before < counted && time.Now().Before(late); { // by a node that may be slow
				time.Sleep(10 * time.Millisecond)
			}
			if n := refused() - before; n != counted {
				t.Errorf("%d refusals of %d requests in clear over %s", n, counted, transport)
			}
		}
	}
	everywhere()
	set := p.challenge(handset.Clear, "tcp")
	p.answer("udp")
	everywhere()
	for _, transport := range []string{"udp", "tcp"} { // also from where it registered, on the same connection
		before := refused()
		p.silent(handset.Clear, transport)
		if refused() == before {
			t.Errorf("no refusal of what came over %s from where it registered", transport)
		}
	}
	p.writes(friend, set, "udp", 100)
	p.hears(friend, 100, set, "udp")
}
