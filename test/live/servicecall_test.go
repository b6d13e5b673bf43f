package live_test

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/servicebox/as"
	servicemedia "imsafe/servicebox/media"
	"imsafe/test/live"
)

// desk is a service in the path of everybody's calls, which calls people by itself too.
const desk = `manifest = 1
service  = "desk"
provider = "example"
domain   = "` + live.Domain + `"
endpoint = "sips:desk.as.` + live.Domain + `:5061"
psi      = ["sip:desk@` + live.Domain + `"]
scopes   = ["session.answer", "session.originate", "media.send", "media.receive", "media.mix", "message.receive"]
users    = { groups = ["default"] }
limits   = { cps = 20, sessions = 200, media_mbps = 20 }
expires  = 2099-12-31
[[trigger]]
case       = "terminating"
methods    = ["INVITE"]
priority   = 1
on_failure = "reject"
`

// The tones of the test, in Hz.
const (
	ringing, whispered = 425, 1000
	ofAlice, ofBob     = 440, 620
)

// startDesk starts a node with that service, its media server, and clients that believe nobody but the network.
func startDesk(t *testing.T, setup func(*as.Service), transports []ue.Transport, configure ...func(*config.Config)) (*enrolling, *servicemedia.Server, []*live.UE) {
	t.Helper()
	svc, err := as.InProcess(as.Parts{Manifest: []byte(desk), Clock: shard.RealClock(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	server, err := servicemedia.At("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	svc.UseMedia(server)
	setup(svc)
	configure = append(configure, func(c *config.Config) { c.HTTPS.Listen = live.AnyPort() })
	e := &enrolling{live.Operate(t, live.Options{Subscribers: len(transports), Services: []*as.Service{svc}}, configure...), t}
	e.Enrol(desk)
	var all []*live.UE
	for i, transport := range transports {
		all = append(all, e.fetching(e.Users[i], transport, nil))
	}
	return e, server, all
}

// vouches wants a call that the network vouches for: whose it is, and that it ends at the desk.
func vouches(t *testing.T, c *ue.Call, identity string) {
	t.Helper()
	v := c.Vouched()
	if v.By != live.Domain || v.Identity != identity || v.String() != "IMS vouches: desk@as" || !slices.Equal(v.Scope, []string{"mix", "receive", "send"}) {
		t.Errorf("%+v, want %s", v, identity)
	}
}

// TestServiceBetween: a service answers alice, who hears its ringing while it calls bob with media of its own; then the two hear each other, through keys of four
// legs; what is whispered to bob alice does not hear. Both clients are told that the service is the end of their media, and bob who calls.
func TestServiceBetween(t *testing.T) {
	for name, c := range map[string]struct {
		transports []ue.Transport
		configure  []func(*config.Config)
	}{
		"through the anchor": {[]ue.Transport{ue.IPsecUDP, ue.IPsecTCP}, []func(*config.Config){anchors}},
		"without an anchor":  {[]ue.Transport{ue.IPsecTCP, ue.IPsecTCP}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			whisper, enough, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			e, server, parties := startDesk(t, func(svc *as.Service) {
				svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) (err error) {
					defer func() { ended <- err }()
					return between(ctx, x, whisper, enough)
				})
			}, c.transports, c.configure...)
			room, free := server.Free(), 0
			if e.Media != nil {
				free = e.Media.Free()
			}
			alice, bob := parties[0], parties[1]
			out, err := alice.Call(e.Context, bob.User.IMPU, ue.Voice{Play: media.NewTone(ofAlice, -10)})
			if err != nil {
				t.Fatal(err)
			}
			in := rung(t, e.Context, bob, out)
			hears(t, e.Context, out, ringing)
			vouches(t, in, alice.User.IMPU)
			in.Answer(ue.Voice{Play: media.NewTone(ofBob, -10)})
			hears(t, e.Context, out, ofBob)
			hears(t, e.Context, in, ofAlice)
			vouches(t, out, bob.User.IMPU)
			close(whisper)
			hears(t, e.Context, in, whispered)
			hears(t, e.Context, out, ofBob)
			close(enough)
			hears(t, e.Context, in, ofAlice)
			in.Hangup()
			<-out.Done()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			returned(t, e, server.Free, room)
			if e.Media != nil {
				idle(t, e.Context, e.Node, free)
			}
			if n := e.SCSCF.Unvouched(); n != 0 {
				t.Errorf("%d messages without a signature", n)
			}
		})
	}
}

// between is what the desk does with a call of somebody's.
func between(ctx context.Context, x *as.Session, whisper, enough <-chan struct{}) error {
	caller, err := x.AnswerMedia(ctx, nil)
	if err != nil {
		return err
	}
	defer caller.Hangup()
	if err := caller.PlayOn(servicemedia.Tone(ringing, -10, 0)); err != nil {
		return err
	}
	called, err := caller.CallOn(ctx)
	if err != nil {
		return err
	}
	defer called.Hangup()
	if err := called.Secured(ctx); err != nil {
		return err
	}
	if _, err := caller.Connect(called); err != nil {
		return err
	}
	select {
	case <-whisper:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := called.PlayOn(servicemedia.Tone(whispered, -10, 0)); err != nil {
		return err
	}
	select {
	case <-enough:
	case <-ctx.Done():
		return ctx.Err()
	}
	called.Hush()
	return caller.Wait(ctx)
}

// rung waits until a client is called.
func rung(t *testing.T, ctx context.Context, x *live.UE, out *ue.Call) *ue.Call {
	t.Helper()
	var over <-chan struct{}
	if out != nil {
		over = out.Done()
	}
	select {
	case in := <-x.Calls:
		return in
	case <-over:
		t.Fatalf("the call ended: %+v", out.Result())
	case <-ctx.Done():
		t.Fatal("no call came")
	}
	return nil
}

// TestServiceCalls: a message to a service lets it call three people, each with keys of his own, and put them into one conference: two hear the third, and he not
// himself. Each is told that the network vouches for the service.
func TestServiceCalls(t *testing.T) {
	ended := make(chan error, 1)
	people := make(chan []string, 1)
	e, server, parties := startDesk(t, func(svc *as.Service) {
		svc.Handle(as.Terminating, func(context.Context, *as.Session) error { return nil })
		svc.HandleMessages(as.Terminating, func(ctx context.Context, x *as.Session) error {
			if err := x.Accept(); err != nil {
				return err
			}
			svc.Go(func(ctx context.Context) (err error) {
				defer func() { ended <- err }()
				return confer(ctx, svc, <-people)
			})
			return nil
		})
	}, []ue.Transport{ue.IPsecUDP, ue.IPsecTCP, ue.IPsecUDP}, anchors)
	room, free := server.Free(), e.Media.Free()
	people <- []string{parties[0].User.IMPU, parties[1].User.IMPU, parties[2].User.IMPU}
	psi := "sip:desk@" + live.Domain
	if err := parties[0].SendMessage(e.Context, psi, "text/plain", []byte("call us")); err != nil {
		t.Fatal(err)
	}
	var calls []*ue.Call
	for i, x := range parties {
		in := rung(t, e.Context, x, nil)
		vouches(t, in, psi)
		voice := ue.Voice{}
		if i == 0 {
			voice.Play = media.NewTone(ofAlice, -10)
		}
		in.Answer(voice)
		calls = append(calls, in)
	}
	for _, c := range calls[1:] {
		hears(t, e.Context, c, ofAlice)
	}
	if calls[0].Media().Heard.Tone(ofAlice) {
		t.Error("alice hears herself")
	}
	for _, c := range calls {
		c.Hangup()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	returned(t, e, server.Free, room)
	idle(t, e.Context, e.Node, free)
}

// confer calls people, and lets them hear each other until all have hung up.
func confer(ctx context.Context, svc *as.Service, people []string) error {
	mix, err := svc.NewMix()
	if err != nil {
		return err
	}
	var calls []*as.Call
	for _, who := range people {
		c, err := svc.OriginateMedia(ctx, who, nil)
		if err != nil {
			return err
		}
		if err := mix.Join(c); err != nil {
			return err
		}
		calls = append(calls, c)
	}
	for _, c := range calls {
		if err := c.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
