package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestNodesApart: what a configuration with functions on several nodes must say.
func TestNodesApart(t *testing.T) {
	const identity = "certificate_file = \"/etc/imsafe/node.crt\"\nkey_file = \"/etc/imsafe/node.key\"\nca_file = \"/etc/imsafe/ca.crt\"\n"
	const hss = "[node]\nroles = [\"hss\"]\n[ims]\ndomain = \"ims.example.org\"\n[hss]\nsealing_key_file = \"/etc/imsafe/sealing.key\"\n"
	const cscf = "[node]\nroles = [\"icscf\", \"scscf\"]\n[ims]\ndomain = \"ims.example.org\"\n"
	const lab = "\nlab = true"
	inLab := func(text string) string { return strings.Replace(text, "[node]", "[node]"+lab, 1) }
	for _, c := range []struct {
		name, text, key string // no key: it is good
	}{
		{"HSS apart", hss + "[mw]\n" + identity + "[cx]\nlisten = \"192.0.2.3:5868\"\nclients = [\"cscf.ims.example.org\"]\n", ""},
		{"CSCFs apart", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\n", ""},
		{"CSCFs of a laboratory", inLab(cscf) + "[cx]\nserver = \"192.0.2.3:3868\"\nlab_cleartext_keys = true\n", ""},
		{"CSCFs with two HSSs", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\nalternate = \"192.0.2.4:5868\"\nalternate_name = \"hss2.ims.example.org\"\n", ""},
		{"a second HSS without a name", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\nalternate = \"192.0.2.4:5868\"\n", "cx.alternate_name"},
		{"a second HSS with the name of the first", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\nalternate = \"192.0.2.4:5868\"\nalternate_name = \"hss.ims.example.org\"\n", "cx.alternate_name"},
		{"a second HSS and no first", cscf + "[mw]\n" + identity + "[cx]\nalternate = \"192.0.2.4:5868\"\nalternate_name = \"hss2.ims.example.org\"\n", "cx.server"},
		{"a watchdog in haste", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\nwatchdog = \"5s\"\n", "cx.watchdog"},
		{"an AKA that is none", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\naka = \"MD5\"\n", "cx.aka"},
		{"CSCFs without an HSS", cscf, "cx.server"},
		{"HSS without a certificate", hss + "[cx]\nlisten = \"192.0.2.3:5868\"\nclients = [\"cscf.ims.example.org\"]\n", "mw.certificate_file"},
		{"HSS for nobody", hss + "[mw]\n" + identity + "[cx]\nlisten = \"192.0.2.3:5868\"\n", "cx.clients"},
		{"client without a domain", hss + "[mw]\n" + identity + "[cx]\nlisten = \"192.0.2.3:5868\"\nclients = [\"cscf\"]\n", "cx.clients"},
		{"an I-CSCF without a domain", hss + "[mw]\n" + identity + "[cx]\nlisten = \"192.0.2.3:5868\"\nclients = [\"cscf.ims.example.org\"]\ninterrogating_clients = [\"icscf\"]\n", "cx.interrogating_clients"},
		{"keys in clear outside a laboratory", cscf + "[cx]\nserver = \"192.0.2.3:3868\"\nlab_cleartext_keys = true\n", "cx.lab_cleartext_keys"},
		{"two HSSs", hss + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\n", "cx.server"},
		{"CSCFs that listen for others", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\nlisten = \"192.0.2.2:5868\"\nclients = [\"cscf.ims.example.org\"]\n", "cx.listen"},
		{"application servers", hss + "[mw]\n" + identity + shOf(""), ""},
		{"application servers without a certificate", hss + shOf(""), "mw.certificate_file"},
		{"application servers of no HSS", cscf + "[mw]\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\n[sh]\nlisten = \"192.0.2.3:3869\"\n", "sh.listen"},
		{"a grant to nobody", hss + "[mw]\n" + identity + shOf("service = \"fax\""), "sh.grant.service"},
		{"a grant of nothing", hss + "[mw]\n" + identity + shOf("data = []"), "sh.grant.data"},
		{"a grant of no operation", hss + "[mw]\n" + identity + shOf("operations = []"), "sh.grant.operations"},
		{"a grant of another operation", hss + "[mw]\n" + identity + shOf("operations = [\"write\"]"), "sh.grant.operations"},
		{"a grant of nobody's data", hss + "[mw]\n" + identity + shOf("groups = []"), "sh.grant.groups"},
		{"a grant of some and of all", hss + "[mw]\n" + identity + shOf("everybody = true"), "sh.grant.groups"},
		{"a grant without a rate", hss + "[mw]\n" + identity + shOf("rate = 0"), "sh.grant.rate"},
		{"an instance without a name", hss + "[mw]\n" + identity + shOf("hosts = [\"mail\"]"), "sh.service.hosts"},
		{"an instance with the HSS's name", hss + "[mw]\n" + identity + shOf("hosts = [\"hss.ims.example.org\"]"), "sh.service.hosts"},
		{"a service without instances", hss + "[mw]\n" + identity + shOf("hosts = []"), "sh.service.hosts"},
		{"SIP in clear outside a laboratory", cscf + "[mw]\nclear = true\nlisten = \"192.0.2.2:5060\"\n" + identity + "[cx]\nserver = \"192.0.2.3:5868\"\n", "mw.clear"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parsed, err := Parse("imsafe.toml", []byte(c.text))
			var problems Problems
			if errors.As(err, &problems) != (c.key != "") {
				t.Fatalf("problems: %v", err)
			}
			if c.key == "" {
				if parsed.CxServerName() != "hss.ims.example.org" {
					t.Errorf("the HSS is called %s", parsed.CxServerName())
				}
				return
			}
			if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Key == c.key }) {
				t.Errorf("nothing about %s: %v", c.key, err)
			}
		})
	}
}

// shOf is a sound [sh] in which one line is another.
func shOf(change string) string {
	key, _, _ := strings.Cut(change, " ")
	text := "[sh]\nlisten = \"192.0.2.3:3869\"\n"
	for _, line := range []string{"[[sh.service]]", "name = \"mail\"", "hosts = [\"mail.as.ims.example.org\"]", "[[sh.grant]]", "service = \"mail\"",
		"data = [\"RepositoryData\"]", "operations = [\"pull\", \"update\"]", "groups = [\"staff\"]", "rate = 5"} {
		if name, _, _ := strings.Cut(line, " "); name == key {
			line, change = change, ""
		}
		text += line + "\n"
	}
	return text + change + "\n"
}

// TestWeakeningsOfWires: a laboratory's wires are told at the start.
func TestWeakeningsOfWires(t *testing.T) {
	c := Default()
	c.Node.Lab, c.Cx.LabCleartextKeys, c.Mw.Clear, c.Mw.Listen = true, true, true, loopback(5060)
	var names []string
	for _, w := range c.Weakenings() {
		names = append(names, w.Name)
	}
	for _, want := range []string{"mw-clear", "cx-cleartext-keys"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not told: %v", want, names)
		}
	}
}

// TestServersOnCx: a name of an S-CSCF is one node's.
func TestServersOnCx(t *testing.T) {
	const identity = "[mw]\ncertificate_file = \"/etc/imsafe/node.crt\"\nkey_file = \"/etc/imsafe/node.key\"\nca_file = \"/etc/imsafe/ca.crt\"\n"
	const cx = "[ims]\ndomain = \"ims.example.org\"\n[hss]\nsealing_key_file = \"/etc/imsafe/sealing.key\"\n" + identity +
		"[cx]\nlisten = \"192.0.2.3:5868\"\nclients = [\"a.ims.example.org\", \"b.ims.example.org\"]\n"
	const hss, whole = "[node]\nroles = [\"hss\"]\n" + cx, "[node]\nroles = [\"scscf\", \"hss\"]\n" + cx
	at := func(name, client string) string {
		return "[[cx.scscf]]\nname = \"" + name + "\"\nclient = \"" + client + "\"\n"
	}
	const one, other = "sip:scscf1.ims.example.org", "sip:scscf1.ims.example.org:6060"
	for _, c := range []struct {
		name, text, key string // no key: it is good
	}{
		{"none is listed", hss, ""},
		{"one is listed", hss + at(other, "b.ims.example.org"), ""},
		{"two of one node", hss + at(one, "b.ims.example.org") + at(other, "b.ims.example.org"), ""},
		{"of no client", hss + at(one, "c.ims.example.org"), "cx.scscf"},
		{"not a SIP URI", hss + at("scscf1.ims.example.org", "b.ims.example.org"), "cx.scscf"},
		{"at two nodes", hss + at(one, "a.ims.example.org") + at(other, "b.ims.example.org"), "cx.scscf"},
		{"called as another client", hss + at("sip:b.ims.example.org", "a.ims.example.org"), "cx.clients"},
		{"that of this process", whole + at("sip:scscf.ims.example.org", "a.ims.example.org"), "cx.scscf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("imsafe.toml", []byte(c.text))
			var problems Problems
			errors.As(err, &problems)
			problems = slices.DeleteFunc(problems, func(p Problem) bool { return !strings.HasPrefix(p.Key, "cx.") })
			if (len(problems) > 0) != (c.key != "") || c.key != "" && problems[0].Key != c.key {
				t.Errorf("problems: %v", err)
			}
		})
	}
}
