package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/node"
	"imsafe/servicebox/link"
)

const echoManifest = `manifest = 1
service  = "echo"
provider = "example"
domain   = "` + testDomain + `"
endpoint = "sips:echo.as.` + testDomain + `:5061"
psi      = ["sip:echo@` + testDomain + `"]
scopes   = ["session.answer", "media.send", "media.record"]
users    = { groups = ["staff"] }
limits   = { cps = 20, sessions = 200, media_mbps = 20 }
expires  = 2099-12-31
[[trigger]]
case     = "terminating"
methods  = ["INVITE"]
priority = 50
`

// enrolment is a desk whose node has a door for enrolment, an operator with an approval key, and a platform on another directory.
type enrolment struct {
	*desk
	at       string
	manifest string
}

func newEnrolment(t *testing.T) *enrolment {
	d := newDesk(t)
	e := &enrolment{desk: d, at: freePort(t), manifest: d.write("echo.service.toml", echoManifest)}
	made := e.here("approver", "new", d.path("approver.key"))
	_, made, _ = strings.Cut(made, "[is]\n")
	config, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	d.write("imsafe.toml", string(config)+"[is]\n"+made+"[is.enrol]\nlisten = [\""+e.at+"\"]\n")
	d.refused(exitUsage, []string{"is.enrol.listen"}, "status") // a list is not what is wanted
	d.write("imsafe.toml", string(config)+"[is]\n"+made+"[is.enrol]\nlisten = \""+e.at+"\"\n")
	return e
}

// here runs a verb that needs no node.
func (e *enrolment) here(args ...string) string {
	e.t.Helper()
	o := e.call(e.t.Context(), "", args...)
	if o.status != exitDone {
		e.t.Fatalf("imsafe %s: exit %d: %s%s", strings.Join(args, " "), o.status, o.stdout, o.stderr)
	}
	return o.stdout
}

// refusedHere runs a verb that needs no node and must fail.
func (e *enrolment) refusedHere(words []string, args ...string) {
	e.t.Helper()
	wantRefused(e.t, e.call(e.t.Context(), "", args...), exitFailed, words, args)
}

// jsonOf runs a verb of the operator and reads what it prints.
func jsonOf[T any](e *enrolment, args ...string) (out T) {
	e.t.Helper()
	if err := json.Unmarshal([]byte(e.do(append(args, "--json")...)), &out); err != nil {
		e.t.Fatal(err)
	}
	return out
}

func (e *enrolment) request(args ...string) []string {
	return append([]string{"service", "request", e.manifest, "--to", e.at}, args...)
}

// TestEnrolmentOfAService is a platform's way: invited, asked, looked at, approved, certified, suspended, resumed, revoked.
func TestEnrolmentOfAService(t *testing.T) {
	e := newEnrolment(t)
	stop := e.start()
	defer func() { stop() }()
	e.do("group", "put", e.write("staff.json", `{"name":"staff"}`))
	e.refused(exitFailed, []string{"imsafe ca new"}, "service", "invite")
	e.do("ca", "new", e.path("root.pem"))
	if shown := e.do("ca", "show"); !strings.Contains(shown, "issues") {
		t.Errorf("ca show: %s", shown)
	}
	invited := jsonOf[node.Invited](e, "service", "invite")
	if invited.Listen != e.at || len(invited.Token) < 26 {
		t.Errorf("invited: %+v", invited)
	}
	known := []string{"--ca-fingerprint", invited.CA}
	e.refusedHere([]string{"enrol.unknown-key", "service invite"}, e.request(known...)...)
	e.refusedHere([]string{"not the one that was named"}, e.request("--token", invited.Token, "--ca-fingerprint", "0000-0000-0000-0000-0000")...)
	said := e.here(e.request(append(known, "--token", invited.Token)...)...)
	e.refusedHere([]string{"enrol.token", "service invite"}, e.request(append(known, "--token", invited.Token)...)...)
	e.refusedHere([]string{"not approved yet"}, e.request(known...)...)

	pending := jsonOf[imsservice.Entry](e, "service", "show", "echo").Pending
	if pending == nil || !strings.Contains(said, pending.Fingerprint) {
		t.Fatalf("the platform says %s, the core has %+v", said, pending)
	}
	approve := []string{"service", "approve", "echo", "--key", e.path("approver.key"), "--as", "operator"}
	e.refused(exitFailed, []string{"differ"}, append(approve, "--fingerprint", "0000-0000-0000-0000-0000")...)
	e.here("approver", "new", e.path("other.key"))
	e.refused(exitFailed, []string{"not signed by"}, "service", "approve", "echo", "--key", e.path("other.key"), "--as", "x", "--fingerprint", pending.Fingerprint)
	e.refused(exitUsage, []string{"does not ask for"}, append(approve, "--fingerprint", pending.Fingerprint, "--without", "session.redirect")...)

	waiting := e.background("", e.request(append(known, "--wait", "--poll", "50ms")...)...)
	if said := e.do(append(approve, "--fingerprint", pending.Fingerprint, "--without", "media.record")...); !strings.Contains(said, "media.record is asked for, and not granted") {
		t.Errorf("what is approved: %s", said)
	}
	if o := waiting(); o.status != exitDone {
		t.Fatalf("waiting ended with %d: %s%s", o.status, o.stdout, o.stderr)
	}
	e.certified()
	e.proxied()
	if list := e.do("service", "list"); !strings.Contains(list, "echo") || !strings.Contains(list, "active") || strings.Contains(list, "media.record") {
		t.Errorf("list: %s", list)
	}
	if psi := e.do("user", "show", "sip:echo@"+testDomain); !strings.Contains(psi, "service.echo") {
		t.Errorf("its public service identity: %s", psi)
	}
	e.do("user", "add", "alice", "--random", "--card-out", e.path("alice.card"), "--group", "staff")
	traced := func() string { return e.do("service", "trace", "alice@"+testDomain, "terminating") }
	if said := traced(); !strings.Contains(said, "echo.as."+testDomain) {
		t.Errorf("the criteria of a user of its group: %s", said)
	}

	if said := e.do("user", "consent", "alice", "echo"); !strings.Contains(said, "echo") {
		t.Errorf("alice agrees: %s", said)
	}
	if said := e.do("user", "show", "alice"); !strings.Contains(said, "agreed  to echo") {
		t.Errorf("alice: %s", said)
	}
	if said := e.do("user", "consent", "alice", "echo", "--withdraw"); !strings.Contains(said, "nothing") {
		t.Errorf("alice does not agree any more: %s", said)
	}

	stop() // what was decided survives
	stop = e.start()
	e.state("suspend", "suspended")
	e.refusedHere([]string{"enrol.unknown-key"}, e.request(known...)...)
	if said := traced(); !strings.Contains(said, "echo.as."+testDomain) {
		t.Errorf("while it is suspended its criteria stay, so that default handling decides: %s", said)
	}
	e.state("resume", "active")
	e.here(e.request(known...)...)
	e.state("revoke", "revoked")
	if said := traced(); strings.Contains(said, "echo.as."+testDomain) {
		t.Errorf("after it was revoked: %s", said)
	}
	e.refused(exitFailed, []string{"not found"}, "user", "show", "sip:echo@"+testDomain)
	again := jsonOf[node.Invited](e, "service", "invite")
	e.refusedHere([]string{"enrol.revoked"}, e.request("--ca-fingerprint", again.CA, "--token", again.Token)...)
}

// certified looks at what was written beside the key.
func (e *enrolment) certified() {
	e.t.Helper()
	at := link.FilesOf(e.manifest, "a")
	text, err := os.ReadFile(at.Chain)
	if err != nil {
		e.t.Fatal(err)
	}
	chain, err := ca.ParseCertificates(text)
	if err != nil || len(chain) != 2 || chain[0].DNSNames[0] != "echo.as."+testDomain || time.Until(chain[0].NotAfter) > 24*time.Hour {
		e.t.Errorf("the certificate: %v, %v", chain, err)
	}
	info, err := os.Stat(at.Key)
	if err != nil || info.Mode().Perm() != 0o600 {
		e.t.Errorf("the key: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(e.manifest), "core-ca.crt")); err != nil {
		e.t.Error(err)
	}
}

// state makes a change and wants the register to say so.
func (e *enrolment) state(verb, want string) {
	e.t.Helper()
	out := jsonOf[node.ServiceChanged](e, "service", verb, "echo")
	if string(out.Service.State) != want || out.Service.Held != "" {
		e.t.Errorf("%s: %+v", verb, out.Service)
	}
}

// TestApprovalAwayFromTheCore signs where neither the core nor its store is, and rotates the intermediate in the same way.
func TestApprovalAwayFromTheCore(t *testing.T) {
	e := newEnrolment(t)
	stop := e.start()
	defer stop()
	e.do("group", "put", e.write("staff.json", `{"name":"staff"}`))
	e.do("ca", "new", e.path("root.pem"))
	invited := jsonOf[node.Invited](e, "service", "invite")
	core := e.write("core.crt", invited.CertPEM)
	e.here(e.request("--ca", core, "--token", invited.Token)...)
	e.write("waits.json", e.do("service", "show", "echo", "--json"))
	fingerprint := jsonOf[imsservice.Entry](e, "service", "show", "echo").Pending.Fingerprint
	sign := []string{"service", "approve", "echo", "--from", e.path("waits.json"), "--key", e.path("approver.key"), "--fingerprint", fingerprint, "--as", "o", "--out"}
	e.here(append(sign, e.path("approval"))...)
	tampered := strings.Replace(e.read("approval"), "media.record", "media.mix", 1)
	e.refused(exitFailed, []string{"approval"}, "service", "approve", "echo", "--signed", e.write("tampered", tampered))
	e.do("service", "approve", "echo", "--signed", e.path("approval"))
	e.refused(exitFailed, []string{"serial"}, "service", "approve", "echo", "--signed", e.path("approval"))
	// Other scopes of the same manifest: a new approval without a new request.
	if said := e.do("service", "approve", "echo", "--key", e.path("approver.key"), "--as", "o", "--fingerprint", fingerprint, "--without", "media.send"); !strings.Contains(said, "- media.send") {
		t.Errorf("what is taken away: %s", said)
	}
	if now := jsonOf[imsservice.Entry](e, "service", "show", "echo"); now.Serial != 2 || strings.Contains(strings.Join(now.Granted, " "), "media.send") {
		t.Errorf("%+v", now)
	}

	e.write("next.csr", e.do("ca", "request"))
	e.write("next.crt", e.here("ca", "sign", e.path("root.pem"), e.path("next.csr")))
	e.do("ca", "install", e.path("next.crt"))
	view := jsonOf[node.AuthorityView](e, "ca", "show")
	if len(view.Issuers) != 2 {
		t.Fatalf("%+v", view)
	}
	e.do("ca", "retire", view.Issuers[1].Serial)
	e.here(e.request("--ca", core)...) // the root is the same: the platform notices nothing
	e.certified()
	e.proxied()

	renew := []string{"service", "renew", e.manifest, "--to", e.at}
	e.here(renew...)
	e.certified()
	e.proxied()
	before := e.read("echo.a.key")
	e.here(append(renew, "--new-key")...)
	e.certified()
	e.proxied()
	if e.read("echo.a.key") == before || len(jsonOf[imsservice.Entry](e, "service", "show", "echo").Keys) != 2 {
		t.Error("the key was not renewed, or is not known")
	}
}

// TestBackupOfServices restores a backup from before a revocation: the service is held.
func TestBackupOfServices(t *testing.T) {
	e := newEnrolment(t)
	stop := e.start()
	e.do("ca", "new", e.path("root.pem"))
	invited := jsonOf[node.Invited](e, "service", "invite")
	e.here(e.request("--ca-fingerprint", invited.CA, "--token", invited.Token)...)
	fingerprint := jsonOf[imsservice.Entry](e, "service", "show", "echo").Pending.Fingerprint
	e.refused(exitUnverified, []string{"there is no group staff"}, "service", "approve", "echo", "--key", e.path("approver.key"), "--as", "o", "--fingerprint", fingerprint)
	backup := e.path("backup.db")
	e.do("backup", backup)
	e.state("revoke", "revoked")
	stop()
	e.do("restore", backup, "--replace")
	stop = e.start()
	defer stop()
	if held := jsonOf[imsservice.Entry](e, "service", "show", "echo").Held; held != imsservice.HeldRestored {
		t.Errorf("after the restore it is held for %q", held)
	}
	e.refusedHere([]string{"enrol.unknown-key"}, e.request("--ca-fingerprint", invited.CA)...)
	e.state("resume", "active")
}
