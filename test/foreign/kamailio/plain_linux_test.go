package kamailio

import (
	"cmp"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/proof/target"
	"imsafe/test/capture"
)

// TestTarget_plain aims attacks at Kamailio as a SIP server that is no IMS, whose users have passwords, by the profile that ships for it. As with
// [TestTarget], a capture has to show what a run says.
func TestTarget_plain(t *testing.T) {
	need(t)
	c := capture.New(t, "-d", "udp.port==5060,sip")
	x := plain(t, "MD5", "udp")
	by := append(confirmed(), confirmedPlain()...)
	var rows []runner.Foreign
	c.During(t, func() { rows = aim(t, x, by) })
	agree(t, rows, by, heard(t, c, "plain"), len(by))
}

// TestTarget_plainSHA256: the same over TCP, with challenges for SHA-256 (RFC 8760). Honest users are served, and a row comes to a verdict.
func TestTarget_plainSHA256(t *testing.T) {
	x := plain(t, "SHA-256", "tcp")
	for _, row := range aim(t, x, []confirmation{{row: "ci.digest.lift"}, {row: "ci.register.hijack"}}) {
		t.Logf("%s %s: %s", row.Outcome, row.Name(), row.Saw)
		claimsNoMore(t, row.Record)
		if row.Outcome != evidence.Succeeded && row.Outcome != evidence.Blocked || !row.Record.Before.Well() || row.Record.Left != "" {
			t.Errorf("%s %s: %s; %+v; %s", row.Outcome, row.Name(), row.Saw, row.Record.Before, row.Record.Left)
		}
	}
}

// TestTarget_plainNeedsNoCard: what is about AKA says that it needs a card, and no other row does.
func TestTarget_plainNeedsNoCard(t *testing.T) {
	x := plainFile(t, "MD5", "udp", nil, nil)
	cards := map[string]bool{}
	for _, a := range attack.All() {
		for _, row := range runner.Plan(&a, x) {
			if strings.HasPrefix(row.Saw, "needs a card: ") {
				cards[row.Attack+"/"+row.Variant] = row.Outcome == evidence.NotApplicable
			}
		}
	}
	for _, name := range []string{"ci.register.biddown/", "ci.esp.replay/flip", "ci.aka.resync-storm/storm", "core.keys.sniff/gm", "ci.register.flood/drain"} {
		if !cards[name] {
			t.Errorf("%s does not say that it needs a card", name)
		}
	}
	for _, name := range []string{"ci.digest.lift/", "ci.identity.from/uri", "ci.register.hijack/", "ci.dialog.kill/stranger"} {
		if _, is := cards[name]; is {
			t.Errorf("%s needs no card", name)
		}
	}
}

// confirmedPlain are rows that say something of a server with passwords alone, or that show there in another way.
func confirmedPlain() []confirmation {
	registered := func(f *frame, who string) bool { // the answer to a REGISTER that leaves a binding of who's
		return strings.HasPrefix(f.text, "SIP/2.0 200 ") && strings.HasSuffix(f.header("CSeq"), "REGISTER") && strings.Contains(f.text, "\r\nContact: <sip:"+who+"@")
	}
	return []confirmation{
		{"ci.port.unprotected", func(f *frame) bool { // no telephone writes without its name
			request := strings.HasPrefix(f.text, "INVITE ") || strings.HasPrefix(f.text, "MESSAGE ")
			return request && strings.Contains(f.header("From"), "sip:alice@") && f.header("User-Agent") == ""
		}, 0},
		{"ci.register.hijack", func(f *frame) bool { return registered(f, "mallory") && strings.Contains(f.header("To"), "sip:alice@") }, 0},
		{"ci.digest.crack", func(f *frame) bool {
			return strings.HasPrefix(f.text, "SIP/2.0 200 ") && strings.HasSuffix(f.header("CSeq"), "REGISTER") && strings.Contains(f.header("To"), "sip:dave@") &&
				f.header("Contact") != ""
		}, 0},
		{"ci.digest.leak", func(f *frame) bool { // no response to a challenge is for another client: not what is asked for there, and not what was given here
			return !strings.HasPrefix(f.text, "SIP/2.0 ") && f.header("Authorization")+f.header("Proxy-Authorization") != ""
		}, 0},
		{"ci.digest.lift", func(f *frame) bool { // dave has one himself
			return strings.HasPrefix(f.text, "SIP/2.0 200 ") && strings.HasSuffix(f.header("CSeq"), "REGISTER") && strings.Contains(f.header("To"), "sip:dave@") &&
				f.header("Contact") != "" && !strings.Contains(f.header("Contact"), "sip:dave@")
		}, 0},
	}
}

// plain starts Kamailio as a registrar and proxy with passwords, and reads the profile with one of its ways in.
func plain(t *testing.T, algorithm, way string) *target.Target {
	t.Helper()
	need(t)
	keys, passwords := passwords()
	run(t, "plain", func(s *Setting) {
		s.Domain, s.Passwords, s.Algorithm, s.TCP = plainDomain, passwords, algorithm, true
	})
	return plainFile(t, algorithm, way, keys, nil)
}

// plainDomain is that of the profile.
const plainDomain = "sip.example.org"

// passwords are those of the cast, by the names of the environment and as the server has them.
func passwords() (keys map[string]string, all []Password) {
	keys = map[string]string{}
	for _, name := range append(attack.Telephones(), attack.Dave) {
		word := rand.Text()
		keys["env:SIP_"+strings.ToUpper(name)] = word
		all = append(all, Password{name, word})
	}
	return keys, all
}

// plainFile is the profile, for one algorithm and one way in. What keys do not have is a password all the same; of certificates there are those of files.
func plainFile(t *testing.T, algorithm, way string, keys map[string]string, files map[string][]byte) *target.Target {
	t.Helper()
	text, _ := target.Profile("kamailio-plain")
	today := time.Now()
	text = strings.Replace(allowed(text, today), `"MD5"`, `"`+algorithm+`"`, 1)
	for _, other := range []string{"udp", "tcp"} {
		if other != way {
			text = strings.Replace(text, "\n"+other+" = ", "\n# "+other+" = ", 1)
		}
	}
	if way == "tls" {
		text = strings.ReplaceAll(text, "\n# tls", "\ntls")
		if files["client.pem"] == nil {
			text = strings.NewReplacer("\ntls_certificate", "\n# tls_certificate", "\ntls_key", "\n# tls_key").Replace(text)
		}
	}
	x, err := target.Read([]byte(text), target.Means{Today: today, Keys: func(reference string) ([]byte, error) {
		return []byte(cmp.Or(keys[reference], "unknown")), nil
	}, Authority: func(path string) ([]byte, error) { return files[path], nil }})
	if err != nil {
		t.Fatal(err)
	}
	return x
}
