package isc_test

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
)

const voicemail = `manifest = 1
service  = "voicemail"
provider = "example"
domain   = "ims.example"
endpoint = "sips:voicemail.as.ims.example:5061"
psi      = ["sip:voicemail@as.ims.example"]
icsi     = ["urn:urn-7:3gpp-service.ims.icsi.mmtel"]
scopes   = ["session.answer", "media.send", "media.record", "mwi.notify"]
users    = { groups = ["staff"], consent = true }
headers  = { see = [] }
limits   = { cps = 20, sessions = 200, fork = 1, media_mbps = 20 }
expires  = 2027-02-28
[[trigger]]
case       = "terminating"
methods    = ["INVITE"]
when       = ["unregistered", "no-answer 20s"]
priority   = 50
on_failure = "continue"
[[sh]]
data  = "RepositoryData"
ops   = ["pull", "update"]
users = { groups = ["staff"] }
rate  = "5/s"
`

func parse(t *testing.T, text string) *isc.Manifest {
	t.Helper()
	m, err := isc.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifest(t *testing.T) {
	m := parse(t, voicemail)
	if m.Host() != "voicemail.as.ims.example" || m.Identity("a1") != "spiffe://ims.example/as/example/voicemail/a1" {
		t.Errorf("host %s, identity %s", m.Host(), m.Identity("a1"))
	}
	if !m.Asked.Has(isc.MediaRecord) || m.Asked.Has(isc.MediaMix) || m.Asked.Has(isc.IdentityAssert) {
		t.Errorf("asks for %s", m.Asked)
	}
	last := time.Date(2027, 2, 28, 23, 59, 59, 0, time.UTC)
	if m.Expired(last) || !m.Expired(last.Add(time.Second)) {
		t.Errorf("ends %s", m.Expires)
	}
	want := []isc.Sh{{Data: isc.ShRepositoryData, Indications: []string{"voicemail"}, Ops: isc.ShPull | isc.ShUpdate, Users: isc.Users{Groups: []string{"staff"}}, Rate: 5, Per: time.Second}}
	if !reflect.DeepEqual(m.Sh, want) {
		t.Errorf("sh %+v, want %+v", m.Sh, want)
	}
	if w := m.Triggers[0].When; len(w) != 2 || w[1] != (isc.Condition{Moment: isc.NoAnswer, After: 20 * time.Second}) {
		t.Errorf("when %v", w)
	}
	for uri, ok := range map[string]bool{
		m.Identity("a1"): true, m.Identity(""): false, m.Identity("a/b"): false,
		"spiffe://ims.example/as/example/voicemail2/a1": false, "spiffe://elsewhere.example/as/example/voicemail/a1": false,
	} {
		if _, is := m.Instance(uri); is != ok {
			t.Errorf("%s is an instance: %v, want %v", uri, is, ok)
		}
	}
}

// TestCriteria compares with the criterion of TS 29.228 B.2.2 as one would write it by hand.
func TestCriteria(t *testing.T) {
	m := parse(t, strings.Replace(voicemail, "[[sh]]", `[[trigger]]
case     = "originating"
methods  = ["MESSAGE", "REFER"]
uri      = "^tel:[+]49"
priority = 7
[[trigger]]
case       = "registration"
priority   = 60
on_failure = "reject"
[[sh]]`, 1))
	const server = "sips:voicemail.as.ims.example:5061"
	want := []cx.InitialFilterCriteria{
		{Priority: 7, Trigger: &cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{
			{Groups: []int{0}, Kind: cx.SPTSessionCase, Case: cx.OriginatingRegistered},
			{Groups: []int{1}, Kind: cx.SPTMethod, Pattern: "MESSAGE"}, {Groups: []int{1}, Kind: cx.SPTMethod, Pattern: "REFER"},
			{Groups: []int{2}, Kind: cx.SPTRequestURI, Pattern: "^tel:[+]49"},
		}}, Server: cx.ApplicationServer{ServerName: server}},
		{Priority: 50, Trigger: &cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{
			{Groups: []int{0}, Kind: cx.SPTSessionCase, Case: cx.TerminatingRegistered},
			{Groups: []int{0}, Kind: cx.SPTSessionCase, Case: cx.TerminatingUnregistered},
			{Groups: []int{1}, Kind: cx.SPTMethod, Pattern: "INVITE"},
		}}, Server: cx.ApplicationServer{ServerName: server}},
		{Priority: 60, Trigger: &cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{{Groups: []int{0}, Kind: cx.SPTMethod, Pattern: "REGISTER"}}},
			Server: cx.ApplicationServer{ServerName: server, DefaultHandling: cx.SessionTerminated}},
	}
	if got := m.Criteria(); !reflect.DeepEqual(got, want) {
		t.Errorf("criteria\n%+v\nwant\n%+v", got, want)
	}
	psi := m.PSICriteria()
	if len(psi) != 1 || psi[0].Server.ServerName != server || psi[0].Server.DefaultHandling != cx.SessionTerminated || psi[0].Trigger.SPTs[2].Pattern != "INVITE" {
		t.Errorf("criteria of its own identities: %+v", psi)
	}
	plain := parse(t, `manifest = 1
service = "s"
provider = "p"
domain = "ims.example"
endpoint = "wss://s.ims.example"
expires = 2027-01-01
`)
	if plain.PSICriteria() != nil || plain.ServerName() != "sip:s.ims.example" || plain.Limits.Fork != 1 {
		t.Errorf("a service without anything: %v, %s, %+v", plain.PSICriteria(), plain.ServerName(), plain.Limits)
	}
}

// TestRefusals changes one thing each of a good manifest; what is said must name the key and the reason.
func TestRefusals(t *testing.T) {
	cases := []struct{ name, old, new, want string }{
		{"unknown_key", "icsi ", "isci ", "isci: there is no such key"},
		{"unknown_key_within", "consent", "Consent", "users.Consent: there is no such key"},
		{"version", "manifest = 1", "manifest = 2", "manifest: the version"},
		{"no_version", "manifest = 1\n", "", "manifest: the version"},
		{"service_in_capitals", `"voicemail"`, `"Voicemail"`, "service: \"Voicemail\" is no name"},
		{"service_with_a_slash", `"voicemail"`, `"voice/../mail"`, "service:"},
		{"provider_is_a_number", `"example"`, `7`, "provider: it is a whole number"},
		{"domain_is_an_address", `domain   = "ims.example"`, `domain   = "192.0.2.1"`, "domain:"},
		{"endpoint_elsewhere", "sips:voicemail.as.ims.example:5061", "sips:voicemail.example.org", "not below the domain"},
		{"endpoint_in_a_lookalike", "sips:voicemail.as.ims.example:5061", "sips:evilims.example", "not below the domain"},
		{"endpoint_is_the_domain", "sips:voicemail.as.ims.example:5061", "sips:ims.example", "not below the domain"},
		{"endpoint_in_clear", "sips:voicemail", "sip:voicemail", "endpoint:"},
		{"endpoint_http", "sips:voicemail.as.ims.example:5061", "http://voicemail.as.ims.example", "endpoint:"},
		{"endpoint_with_parameters", "ims.example:5061", "ims.example:5061;maddr=192.0.2.1", "endpoint:"},
		{"endpoint_with_a_user", "sips:voicemail.as.ims.example:5061", "https://root@voicemail.as.ims.example/#", "endpoint:"},
		{"psi_elsewhere", "voicemail@as.ims.example", "voicemail@example.org", "psi[0]:"},
		{"psi_with_parameters", "voicemail@as.ims.example", "voicemail@as.ims.example;user=phone", "psi[0]:"},
		{"icsi", "urn:urn-7:", "urn:urn-8:", "icsi:"},
		{"unknown_scope", "session.answer", "session.answers", `there is no scope "session.answers"`},
		{"scope_twice", `"media.send"`, `"session.answer"`, "stands twice"},
		{"assert_everybody", "session.answer", "identity.assert:*", "is no pattern"},
		{"assert_without_a_pattern", "session.answer", "identity.assert", "must say whom"},
		{"group", `"staff"], c`, `"st aff"], c`, "users.groups[0]:"},
		{"all_and_groups", "consent = true", "all = true", "users: all and groups"},
		{"header", "see = []", `see = ["everything"]`, "headers.see[0]:"},
		{"limit", "cps = 20", "cps = 0", "limits.cps: 0 is not between"},
		{"limit_missing", "cps = 20, ", "", "limits: cps and sessions are missing"},
		{"limit_of_media_missing", ", media_mbps = 20", "", "limits.media_mbps:"},
		{"limit_with_a_fraction", "cps = 20", "cps = 0.5", "limits.cps: it is a number with a fraction"},
		{"forks_without_scope", "fork = 1", "fork = 2", "limits.fork:"},
		{"no_end", "expires  = 2027-02-28\n", "", "expires: the end is missing"},
		{"end_in_quotes", "2027-02-28", `"2027-02-28"`, "expires: it is a text"},
		{"end_is_no_day", "2027-02-28", "2027-02-30", "line 12"},
		{"case", `"terminating"`, `"terminated"`, "trigger[0].case:"},
		{"no_methods", `["INVITE"]`, `[]`, "trigger[0].methods: no method"},
		{"register_in_a_session", `["INVITE"]`, `["REGISTER"]`, "trigger[0].methods[0]:"},
		{"condition", "no-answer 20s", "sleeping", "trigger[0].when[1]:"},
		{"condition_without_time", "no-answer 20s", "no-answer", "trigger[0].when[1]:"},
		{"condition_for_hours", "no-answer 20s", "no-answer 2h", "trigger[0].when[1]:"},
		{"priority_missing", "priority   = 50\n", "", "trigger[0].priority: the priority is missing"},
		{"on_failure", `"continue"`, `"maybe"`, "trigger[0].on_failure:"},
		{"reject_for_those_away", `on_failure = "continue"`, `on_failure = "reject"`, "neither busy nor away"},
		{"nobody", `users    = { groups = ["staff"], consent = true }` + "\n", "", "users: there are triggers"},
		{"expression_with_backward_reference", "priority   = 50", "priority = 50\nuri = '(a)\\1'", "trigger[0].uri:"},
		{"expression_with_control", "priority   = 50", "priority = 50\nuri = \"a\\nb\"", "trigger[0].uri:"},
		{"expression_of_perl", "priority   = 50", "priority = 50\nuri = '^sip:\\d+@'", "trigger[0].uri:"},
		{"expression_too_large", "priority   = 50", "priority = 50\nuri = '^sip:.{0,900}@'", "trigger[0].uri: the expressions of the manifest"},
		{"data", "RepositoryData", "Ki", "sh[0].data:"},
		{"location_is_not_written", "RepositoryData", "LocationInformation", "sh[0].ops[1]:"},
		{"data_of_nobody", "users = { groups = [\"staff\"] }\n", "", "sh[0].users: nobody is named"},
		{"rate", "5/s", "fast", "sh[0].rate:"},
		{"syntax", "manifest = 1", "manifest = ", "line 1"},
		{"doubled_key", "manifest = 1", "manifest = 1\nmanifest = 1", "line 2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := isc.Parse([]byte(strings.Replace(voicemail, c.old, c.new, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says:\n%v\nwant %q in it", err, c.want)
			}
		})
	}
}

// TestOnFailureIsSaid wants a decision of whoever could be there to protect somebody.
func TestOnFailureIsSaid(t *testing.T) {
	silent := strings.Replace(voicemail, "on_failure = \"continue\"\n", "", 1)
	parse(t, silent)
	for _, scope := range []string{"session.redirect", "session.proxy"} {
		_, err := isc.Parse([]byte(strings.Replace(silent, "session.answer", scope, 1)))
		if err == nil || !strings.Contains(err.Error(), "trigger[0].on_failure: it is missing") {
			t.Errorf("%s: %v", scope, err)
		}
	}
}

// TestAllAtOnce wants every problem in one answer.
func TestAllAtOnce(t *testing.T) {
	_, err := isc.Parse([]byte(`service = "X"` + "\nfoo = 1\n"))
	var ps isc.Problems
	if !errors.As(err, &ps) {
		t.Fatal(err)
	}
	for _, key := range []string{"manifest", "service", "provider", "domain", "endpoint", "expires", "foo"} {
		if !strings.Contains(err.Error(), key+": ") {
			t.Errorf("nothing is said about %s:\n%v", key, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	many := voicemail + strings.Repeat("[[trigger]]\ncase = \"originating\"\nmethods = [\"INVITE\"]\npriority = 1\n", 40)
	for name, text := range map[string]string{
		"octets":  voicemail + strings.Repeat("# \n", 8<<10),
		"deep":    "a = " + strings.Repeat("[", 2000) + strings.Repeat("]", 2000),
		"tables":  many,
		"entries": strings.Replace(voicemail, `psi      = [`, `psi = [`+strings.Repeat(`"sip:a@ims.example",`, 40), 1),
	} {
		var large isc.TooLarge
		if _, err := isc.Parse([]byte(text)); !errors.As(err, &large) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := isc.ParseWithin([]byte(many), isc.Bounds{Octets: 1 << 20, Depth: 4, Entries: 100}); err == nil || errors.As(err, new(isc.TooLarge)) {
		t.Errorf("with wider bounds: %v; want the priorities refused", err)
	}
}

// TestPage parses the manifest that the room's page shows.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```toml\n")
	text, _, _ = strings.Cut(text, "```")
	parse(t, text)
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(voicemail))
	f.Add([]byte("a = [[[[[["))
	f.Add([]byte("trigger = [{}]\nsh = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := isc.Parse(text)
		if (m == nil) == (err == nil) {
			t.Fatalf("manifest %v, error %v", m, err)
		}
		if m == nil {
			return
		}
		if _, ok := m.Instance(m.Identity("a")); !ok || m.Host() == "" || len(m.Criteria()) != len(m.Triggers) {
			t.Fatalf("accepted without sense: %+v", m)
		}
		if s, err := isc.ParseScopes(m.Asked.List()); err != nil || s.String() != m.Asked.String() {
			t.Fatalf("scopes %s come back as %s, %v", m.Asked, s, err)
		}
	})
}
