package kamailio

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"imsafe/test/live"
)

// addresses of the functions; a node of ours that has several functions listens on that of its first.
var addresses = map[string]string{"pcscf": "127.0.0.3", "icscf": "127.0.0.4", "scscf": "127.0.0.5", "hss": "127.0.0.6", "as": "127.0.0.7",
	"plain": "127.0.0.8"}

func named(function string) string { return function + "." + live.Domain }

// run starts Kamailio as a function until the test ends.
func run(t *testing.T, name string, more ...func(*Setting)) *Program {
	t.Helper()
	program, modules := need(t)
	s := Setting{Domain: live.Domain, Modules: modules, Dir: "/tmp", Name: name, Address: addresses[name], HSS: addresses["hss"], HSSName: named("hss"),
		Core: []string{addresses["icscf"], addresses["scscf"]}, Workers: 2, Debug: 2}
	for _, set := range more {
		set(&s)
	}
	k, err := Start(program, t.TempDir(), s, "-m", "64", "-M", "8")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, k) })
	awake(t, k, addresses[name])
	return k
}

// awake waits until the program answers OPTIONS.
func awake(t *testing.T, k *Program, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), live.Patience)
	defer cancel()
	conn, err := net.Dial("udp", address+":5060")
	if err != nil {
		t.Fatal(err)
	}
	p := live.NewPhone(conn, "udp", live.NewUsers("probe", 1, live.AKAv1)[0])
	defer p.Close()
	for ctx.Err() == nil {
		answer, err := p.Ask(ctx, p.Request("OPTIONS", "sip:"+address, "sip:"+address, ""))
		if err == nil {
			answer.Release()
			return
		}
		select { // the socket is not there yet, which the kernel says at once
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("Kamailio as %s does not answer", k.Name)
}

// stop ends the program, and shows what it wrote if the test failed.
func stop(t *testing.T, k *Program) {
	if err := k.Stop(); err != nil {
		t.Errorf("Kamailio as %s ended with %v", k.Name, err)
	}
	if t.Failed() || testing.Verbose() {
		log, _ := os.ReadFile(k.Log)
		t.Logf("Kamailio as %s:\n%s", k.Name, log[max(0, len(log)-16<<10):])
	}
}
