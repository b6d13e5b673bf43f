package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/servicebox/echo"
)

// killing is a network whose core and services are processes of their own, which are killed.
type killing struct {
	*enrolment
	isc       string
	processes map[string]*exec.Cmd
	log       map[string]*lockedBuffer
}

// run starts a process of our program under a name.
func (k *killing) run(name string, args ...string) {
	k.t.Helper()
	self, err := os.Executable()
	if err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	k.log[name] = &lockedBuffer{}
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), asProgram+"=yes", "GORACE=atexit_sleep_ms=0"), k.log[name], k.log[name]
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.processes[name] = cmd
}

// kill ends it as kill -9 does.
func (k *killing) kill(name string) {
	cmd := k.processes[name]
	if cmd == nil {
		return
	}
	delete(k.processes, name)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

func (k *killing) core(more ...string) {
	k.t.Helper()
	k.run("core", append([]string{"run", "-c", k.config}, more...)...)
	socket := filepath.Join(k.path("store"), "management.sock")
	k.until("the core answers", func() bool { return knock(k.t.Context(), socket) == nil })
}

// service starts a service that was enrolled, and waits until it is connected.
func (k *killing) service(name string, more ...string) {
	k.t.Helper()
	k.run(name, append([]string{"service", "run", k.path(name + ".service.toml"), "--core", k.isc, "--enrol", k.at, "--verbose"}, more...)...)
	k.connected(name, 1)
}

func (k *killing) connected(name string, times int) {
	k.t.Helper()
	k.until(name+" is connected", func() bool { return strings.Count(k.log[name].String(), "connected to the core") >= times })
}

func (k *killing) until(what string, true func() bool) {
	k.t.Helper()
	for deadline := time.Now().Add(time.Minute); !true(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			for name, log := range k.log {
				k.t.Logf("%s: %s", name, log)
			}
			k.t.Fatalf("not in time: %s", what)
		}
	}
}

// enrol approves a service and fetches its certificate.
func (k *killing) enrol(name, manifest string) {
	k.t.Helper()
	path := k.write(name+".service.toml", manifest)
	invited := jsonOf[struct{ Token, CA string }](k.enrolment, "service", "invite")
	ask := []string{"service", "request", path, "--to", k.at, "--ca-fingerprint", invited.CA}
	var told requested
	decode(k.t, k.here(append(ask, "--token", invited.Token, "--json")...), &told)
	k.do("service", "approve", name, "--fingerprint", told.Fingerprint, "--key", k.path("approver.key"), "--as", "operator")
	k.here(ask...)
}

func newKilling(t *testing.T) *killing {
	k := &killing{enrolment: newEnrolment(t), isc: freePort(t), processes: map[string]*exec.Cmd{}, log: map[string]*lockedBuffer{}}
	text := k.read("imsafe.toml")
	k.write("imsafe.toml", strings.Replace(text, "[is]\n", fmt.Sprintf("[is]\nlisten = %q\n", k.isc), 1))
	t.Cleanup(func() {
		for name := range k.processes {
			k.kill(name)
		}
	})
	k.core()
	k.do("ca", "new", k.path("root.pem"))
	k.do("group", "put", k.write("group.json", `{"name":"telephony"}`))
	for _, name := range []string{"alice", "bob"} {
		k.do("user", "add", name, "--random", "--card-out", k.path(name+".card"), "--group", "telephony")
	}
	telephony, err := os.ReadFile("../../servicebox/telephony/telephony.service.toml")
	if err != nil {
		t.Fatal(err)
	}
	k.enrol("telephony", strings.ReplaceAll(string(telephony), "ims.example", testDomain))
	k.enrol("echo", echo.Manifest(testDomain))
	k.service("telephony", "--settings", k.path("settings.json"))
	k.service("echo")
	return k
}

// rings lets alice call bob, who answers after a while; meanwhile is done while it rings. It returns what both saw.
func (k *killing) rings(ring string, meanwhile func()) (alice, bob outcome) {
	k.t.Helper()
	end := k.background("registered", k.client("answer", "bob.card", "--ring", ring, "--tone", "620", "--wait", "1m")...)
	call := k.background("ringing", k.client("call", "alice.card", "bob", "--tone", "440", "--for", "200ms")...)
	meanwhile()
	return call(), end()
}

// TestKilled: services and the core are killed with SIGKILL, at rest and while it rings. Calls that were under way may fail, and then for both
// ends; each call afterwards passes every service, once.
func TestKilled(t *testing.T) {
	k := newKilling(t)
	good := func(when string) {
		t.Helper()
		if alice, bob := k.rings("100ms", func() {}); alice.status != exitDone || bob.status != exitDone {
			t.Fatalf("%s: alice %d %s%s\nbob %d %s%s", when, alice.status, alice.stdout, alice.stderr, bob.status, bob.stdout, bob.stderr)
		}
	}
	good("at first")

	alice, bob := k.rings("20s", func() { k.kill("telephony") })
	if alice.status == exitDone || strings.Contains(bob.stdout, "secured") {
		t.Errorf("one end is in a call alone: alice %d %s, bob %s", alice.status, alice.stdout, bob.stdout)
	}
	o := k.call(t.Context(), "", k.client("call", "alice.card", "bob")...)
	if o.status == exitDone || !strings.Contains(o.stdout, "503") {
		t.Errorf("without the service that screens: %d %s%s", o.status, o.stdout, o.stderr)
	}
	k.service("telephony", "--settings", k.path("settings.json"))
	good("after the service was killed")

	k.kill("core")
	k.core()
	k.connected("telephony", 2)
	k.connected("echo", 2)
	good("after the core was killed")

	// A chain: telephony of alice, telephony of bob, who forwards, and echo.
	k.write("settings.json", fmt.Sprintf(`{"sip:bob@%s": {"unconditional": "sip:echo@%s"}}`, testDomain, testDomain))
	said := k.do(k.client("call", "alice.card", "bob", "--tone", "500", "--hear", "500", "--for", "2s")...)
	if text := events(t, said)["answered"].Text; !strings.Contains(text, "mutual TLS 1.3") {
		t.Errorf("forwarded to echo, which says %q", text)
	}
	k.kill("echo")
	k.kill("core")
	k.core()
	k.service("echo")
	k.connected("telephony", 3)
	k.do(k.client("call", "alice.card", "bob", "--mute")...)

	// The same services inside the node.
	for _, name := range []string{"echo", "telephony", "core"} {
		k.kill(name)
	}
	k.core("--service", k.path("echo.service.toml"), "--service", k.path("telephony.service.toml"), "--settings", k.path("settings.json"))
	said = k.do(k.client("call", "alice.card", "bob", "--mute")...)
	if text := events(t, said)["answered"].Text; !strings.Contains(text, "compiled into the core") {
		t.Errorf("forwarded to echo inside, which says %q", text)
	}
}
