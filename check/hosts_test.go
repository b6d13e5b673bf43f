package check

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// goodHosts are what the tree may link to: bodies that publish standards, the forge, names of XML
// namespaces and licences. Everything else in a URL is an example name or a loopback or example address.
const goodHosts = "www.rfc-editor.org datatracker.ietf.org www.iana.org www.3gpp.org portal.3gpp.org www.etsi.org www.itu.int " +
	"www.w3.org github.com go.dev pkg.go.dev www.apache.org keepachangelog.com semver.org doi.org www.gsma.com"

var (
	urlHost = regexp.MustCompile(`\b(?:https?|wss?|ftp)://(?:[^/\s"'<>@]+@)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)`)
	// exampleName: RFC 2606, RFC 6761, and the domain of mobile networks (TS 23.003).
	exampleName = regexp.MustCompile(`(?i)(^|\.)(example(\.(com|net|org))?|test|invalid|localhost|3gppnetwork\.org)$`)
	// Pieced together, so that this file does not name what it refuses.
	machinePath = regexp.MustCompile(`(^|[\s"'(=` + "`" + `])/(wo` + `rk|fa` + `rm|ro` + `ot|home/[a-z]+|Users/[A-Za-z]+)/`)
	registry    = regexp.MustCompile(`(?i)\b(proxy\.go` + `lang\.org|sum\.go` + `lang\.org|registry\.np` + `mjs\.org|py` + `pi\.org|crates\.i` + `o|rubygems\.o` + `rg|repo\.maven|deb\.debian\.o` + `rg|snapshot\.debian\.o` + `rg|docker\.i` + `o|artifact` + `ory)\b`)
)

// hostProblems refuses links to hosts that are not in the list, names of package registries and paths of
// somebody's machine. A build must come out the same wherever its modules are fetched from.
func hostProblems(tr *tree) []string {
	var problems []string
	for _, p := range tr.paths {
		text := tr.read(p)
		if path.Base(p) == "go.sum" || strings.Contains("/"+p, "/testdata/") || !utf8.ValidString(text) {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			at := fmt.Sprintf("%s:%d", p, i+1)
			for _, m := range urlHost.FindAllStringSubmatch(line, -1) {
				if !goodHost(m[1]) {
					problems = append(problems, fmt.Sprintf("%s: links to %s: use an example name (RFC 2606), or add the host to check/hosts_test.go if readers need it", at, m[1]))
				}
			}
			if m := registry.FindString(line); m != "" {
				problems = append(problems, fmt.Sprintf("%s: names the package registry %s: leave it to the tool's own settings", at, m))
			}
			if m := machinePath.FindString(line); m != "" {
				problems = append(problems, fmt.Sprintf("%s: names a path of one machine (%s): make it relative or a parameter", at, strings.TrimSpace(m)))
			}
		}
	}
	return problems
}

func goodHost(host string) bool {
	if matches(goodHosts, host) || exampleName.MatchString(host) {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return !strings.Contains(host, ".") // a bare word is a placeholder
	}
	for _, prefix := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "0.0.0.0/32", "::/128"} {
		if netip.MustParsePrefix(prefix).Contains(addr) {
			return true
		}
	}
	return false
}

func TestHosts(t *testing.T) { report(t, hostProblems(theHouse(t))) }

func TestHostsRefuses(t *testing.T) {
	demonstrate(t, hostProblems, []show{
		{"good", "-- a.md --\nhttps://www.rfc-editor.org/rfc/rfc3261 http://127.0.0.1:9090/metrics https://ims.example.com https://[2001:db8::1]/x\n", nil},
		{"stranger", "-- a.md --\nsee https://telecom-blog" + ".io/x\n", []string{"a.md:1: links to telecom-blog.io"}},
		{"registry", "-- a.md --\nGOPROXY=proxy.go" + "lang.org\n", []string{"a.md:1: names the package registry"}},
		{"path of a machine", "-- a.sh --\ncd /ro" + "ot/src\n", []string{"a.sh:1: names a path of one machine"}},
		{"real address", "-- a.md --\nhttp://8.8.4" + ".4/\n", []string{"a.md:1: links to 8.8.4.4"}},
	})
}
