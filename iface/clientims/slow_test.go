package clientims

import (
	"testing"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// slowEngine is an engine that tells when the test lets it.
type slowEngine struct {
	*esp.Engine
	wait []func()
}

// Standing implements Slow.
func (e *slowEngine) Standing(r esp.Ref, done func(error)) {
	e.wait = append(e.wait, func() {
		if _, stands := e.Status(r); !stands {
			done(esp.ErrGone)
			return
		}
		done(nil)
	})
}

// TestInstall_overtaken: a client that registers again before the associations of its first REGISTER stand is challenged for the last, and that holds
// although the first is refused then.
func TestInstall_overtaken(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	slow := &slowEngine{Engine: b.engine}
	b.gm.Engine = slow
	now := b.bench.pcscf
	b.bench.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		if in.Msg.Method() != sip.REGISTER || in.Proof.Generation() != secure.GenerationNone {
			return now(x, in)
		}
		b.serial++
		b.ck, b.ik = aka.CK{b.serial}, aka.IK{b.serial, 1}
		var lines []string
		var err error
		x.Task().Await(func(w shard.Waker) {
			b.door.Install(in.Proof.Association(), b.ck, b.ik, func(values []string, failed error) {
				lines, err = values, failed
				w.Wake()
			})
		})
		if err != nil {
			return x.Refuse(in, 500, "")
		}
		r := x.Refuse(in, 401, "")
		for _, l := range lines {
			r.Msg.AppendString(sip.HdrSecurityServer, l)
		}
		return r
	}
	p := b.phone("alice", "198.51.100.7")
	want(t, p.sendClear("REGISTER", p.offer()), 0)
	offer := p.offer()
	want(t, p.sendClear("REGISTER", offer), 0)
	for _, tell := range slow.wait {
		b.on(tell)
	}
	if len(p.clear) != 2 {
		t.Fatalf("%d answers to two REGISTERs", len(p.clear))
	}
	want(t, p.clear[:1], 500)
	p.install(p.clear[1])
	want(t, p.send(0, "REGISTER", offer), 200)
}
