package live_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"imsafe/client/ue"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
	"imsafe/test/live"
)

// TestServiceInside: a service that is compiled into the node is asked when it is approved and not before, passes the same guard, and is cut
// off by a suspension like one that is far away.
func TestServiceInside(t *testing.T) {
	manifest := echo.Manifest(live.Domain)
	svc, err := as.InProcess(as.Parts{Manifest: []byte(manifest), Clock: shard.RealClock(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	echo.Setup(svc)
	e := &enrolling{live.Operate(t, live.Options{Subscribers: 1, Services: []*as.Service{svc}}), t}
	alice, err := e.UE(e.Users[0], ue.IPsecUDP, nil)
	if err == nil {
		_, err = alice.Register(e.Context)
	}
	if err != nil {
		t.Fatal(err)
	}
	// calls returns what echo says, or how the call ended.
	calls := func() string {
		t.Helper()
		call, err := alice.Call(e.Context, "sip:echo@"+live.Domain, ue.Voice{})
		if err != nil {
			t.Fatal(err)
		}
		answered, err := call.Until(e.Context, ue.Answered)
		<-call.Done()
		if err != nil {
			return call.Result().Err.Error()
		}
		return strings.Join(answered.Notes, " ")
	}
	if said := calls(); !strings.Contains(said, "404") {
		t.Errorf("before it is approved: %s", said)
	}
	e.Enrol(manifest)
	for range 3 {
		if said := calls(); !strings.Contains(said, "compiled into the core") {
			t.Errorf("approved: %s", said)
		}
	}
	e.Call("service.suspend", node.SuspendService{Name: "echo"}, nil)
	if said := calls(); !strings.Contains(said, "503") {
		t.Errorf("suspended: %s", said)
	}
	e.Call("service.resume", node.Named{Name: "echo"}, nil)
	if said := calls(); !strings.Contains(said, "compiled into the core") {
		t.Errorf("resumed: %s", said)
	}
	if n := svc.Counters().Sessions.Load(); n != 4 {
		t.Errorf("it was asked %d times", n)
	}
}
