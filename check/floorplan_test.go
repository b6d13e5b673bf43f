package check

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"testing"
)

// row says what one room (or all that a pattern names) may import. Room names are paths without the
// module; "^" is the room one step up, as refpoint/cx is for refpoint/cx/cxwire. What is not listed is refused.
// The first row that names a room holds.
type row struct {
	room    string
	ours    string // rooms of ours
	foreign string // third-party modules, by the short names below
	test    string // what its tests may import beyond that, ours and foreign
}

// floorPlan is the house from the ground up. Read it from top to bottom: a room stands on those above it.
var floorPlan = []row{
	// Ground floor: protocols. They know nothing of IMS functions, of policy or of each other's users.
	{"proto/sip", "", "", ""},
	{"proto/shard", "", "", ""},
	{"proto/slab", "", "", ""},
	{"proto/budget", "", "", ""},
	{"proto/fairlisten", "proto/budget", "", ""},
	{"proto/webdoor", "", "", ""},
	{"proto/sdp", "", "pion/sdp", ""},
	{"proto/g711", "", "", ""},
	{"proto/aka", "", "", ""},
	{"proto/mmsg", "", "x/sys", ""},
	{"proto/siptransport", "proto/sip proto/shard proto/mmsg", "x/net x/sys", ""},
	{"proto/overload", "proto/sip", "", ""}, // for the parameters of a Via
	{"proto/siptxn", "proto/sip proto/shard proto/siptransport proto/overload", "", ""},
	{"proto/diameter", "proto/shard", "x/net x/sys", ""},
	{"proto/xmltree", "", "", ""},
	{"proto/dns", "", "miekg/dns", "test/nameserver"},
	{"proto/secagree", "", "", ""},
	{"proto/passport", "", "go-jose", ""},
	{"proto/oauth", "", "go-jose", ""},
	{"proto/esp", "proto/aka proto/shard proto/slab proto/mmsg", "x/net x/sys", ""}, // its keys are CK and IK as aka's types
	{"proto/xfrm", "proto/esp proto/shard proto/aka", "x/sys", "proto/espnet"},      // the kernel's associations, booked in esp's table
	{"proto/espnet", "proto/esp proto/shard", "gvisor", "proto/aka"},
	{"proto/nftdrop", "", "nftables x/sys", ""}, // the kernel drops sources: it knows addresses and ports, nothing of SIP
	{"proto/rtpport", "proto/sdp proto/shard", "pion/rtp pion/rtcp pion/srtp pion/dtls pion/stun pion/transport x/net x/sys", ""},

	// The words of security, and the table that says which controls are on.
	{"secure/internal/seal", "", "", ""},
	{"secure", "secure/internal/seal", "", "secure/mint"},
	{"secure/mint", "secure secure/internal/seal", "", ""},
	{"policy", "secure", "", "policy/lab"},
	{"policy/lab", "policy secure", "", ""},

	// Services of the house.
	{"config", "proto/secagree proto/budget", "go-toml", ""}, // the names of algorithms, and what a sound rate is
	{"trace", "secure", "prometheus", "proto/aka"},
	{"trace/ladder", "", "", ""}, // it draws what it is told, and knows no SIP
	{"store", "store/disk store/journal", "", "store/sqlite sqlite"},
	{"store/disk", "", "x/sys", ""},
	{"store/journal", "store/disk", "", ""},
	{"store/sqlite", "store store/disk", "sqlite", ""},
	{"store/postgres", "store", "pgx", "test/postgres"},
	{"store/seal", "store", "", ""},
	{"store/storetest", "store store/disk store/seal", "", ""},
	{"decisions", "store/disk", "", ""},
	{"ca", "secure store store/seal", "x/crypto", "proto/shard"},

	// Reference points: contracts, their wire forms and their contract tests.
	// Triggers are filter criteria, so isc knows cx; a manifest is a document of its own, which is read where it is checked.
	{"refpoint/isc", "refpoint/cx proto/sip proto/sdp proto/shard secure", "go-toml", ""},
	{"refpoint/sh", "refpoint/cx proto/shard proto/xmltree", "", ""}, // its filter criteria and charging functions are those of Cx
	{"refpoint/sh/shtest", "refpoint/sh proto/shard", "", ""},
	{"refpoint/cx", "proto/sip proto/sdp proto/shard proto/aka proto/xmltree secure", "", ""},
	{"refpoint/mr", "proto/g711", "", ""}, // frames have a law; what a call may agree on is in descriptions, which pass unread
	{"refpoint/*", "proto/sip proto/sdp proto/shard proto/aka secure", "", ""},
	{"refpoint/*/*wire", "^ proto/sip proto/sdp proto/shard proto/aka proto/diameter secure", "", ""},
	{"refpoint/*/*test", "^ proto/* secure", "", ""},

	// How a request goes from function to function.
	// It carries the keys of a challenge as aka's types, beside the message and never in it.
	{"hop", "proto/sip proto/siptxn proto/siptransport proto/shard proto/aka secure", "", ""},
	{"hop/node", "hop proto/sip proto/siptxn proto/siptransport proto/shard proto/overload proto/budget secure secure/mint", "", ""},

	// The three doors and the operator's.
	{"iface/*", "policy secure secure/mint hop refpoint/* store store/seal ca proto/*", "x/sys x/net", ""},

	// The three boxes.
	{"imsbox/dialog", "hop proto/sip proto/slab proto/shard secure", "", ""}, // what P-CSCF and S-CSCF both keep of calls
	{"imsbox/filter", "refpoint/cx proto/sip", "", ""},                       // the HSS refuses what the S-CSCF could not run: one compiler for both
	{"imsbox/hss", "imsbox/filter hop refpoint/* secure policy store store/seal proto/*", "", ""},
	{"imsbox/scscf", "imsbox/dialog imsbox/filter hop refpoint/* secure policy store proto/*", "", ""},
	{"imsbox/*", "imsbox/dialog hop refpoint/* secure policy store proto/*", "", ""},
	// A service is a stranger to the core: of its contracts the kit knows the manifest alone.
	{"servicebox/link", "refpoint/isc proto/*", "", "ca"},
	{"servicebox/pages", "proto/*", "", ""}, // what clients fetch from a service: it knows tokens, and nothing of SIP
	{"servicebox/as", "servicebox/link servicebox/pages refpoint/isc refpoint/mr proto/*", "", "servicebox/as/astest test/lab"},
	{"servicebox/media", "refpoint/mr proto/*", "", ""}, // it ends media, and knows nothing of SIP, scopes or the core
	// The core in a bottle is test/lab: one simulation, for the tests of services as for our own. Only tests import astest.
	{"servicebox/as/astest", "servicebox/as test/lab node client/* config hop refpoint/* secure proto/*", "", ""},
	{"servicebox/proxy", "servicebox/link proto/*", "", ""},
	{"servicebox/*", "servicebox/as servicebox/media store proto/*", "", "servicebox/as/astest"},
	{"client/*", "client/* secure proto/*", "pion/rtp pion/rtcp pion/srtp pion/dtls x/net x/sys", ""},

	// The wing that proves the house.
	{"proof/attack", "secure proto/* client/*", "", ""},
	{"proof/runner", "secure policy proto/shard proof/evidence proof/attack proof/target", "", ""},
	{"proof/target", "proof/attack proto/aka", "go-toml", ""}, // whom attacks may be aimed at
	{"proof/evidence", "", "", ""},
	{"proof/tables", "", "go-toml", ""},
	{"proof/report", "proof/evidence proof/tables proof/cells proof/tvra proof/x805", "", "proof/runner test/browser"},
	{"proof/*", "proof/evidence proof/tables", "", ""}, // they compute, from evidence and tables alone

	// What stands on top. Only these see the whole.
	{"node", "proto/* secure secure/mint policy config trace trace/ladder store store/* ca refpoint/* refpoint/*/*wire hop hop/node " +
		"decisions iface/* imsbox/* servicebox/* client/*", "prometheus x/sync x/sys x/net", ""},
	{"web", "node trace trace/ladder secure policy proof/evidence", "", "test/live test/browser client/*"},
	// The doctor words what others found: the answers of a running node, the view of the HSS. The machine is behind an interface of
	// its own, and doctor/host is that machine.
	{"doctor", "config node imsbox/hss proto/aka proto/sip proto/siptransport", "", "ca"},
	{"doctor/host", "doctor proto/esp", "x/net x/sys", ""},
	{"cmd/imsafe", "*", "kong x/sync x/sys", "*"},
	{"check", "", "txtar", "trace secure policy proof/attack"},
	{"test/nameserver", "", "miekg/dns", ""},
	{"test/*", "*", "x/sync x/sys x/net", ""},
	{"test/foreign/*", "*", "x/sync x/sys x/net", ""},
	{"test/kernelesp/handset", "proto/aka", "", ""}, // a foreign client: what it shared with ours it could not judge
	{"test/kernelesp/*", "*", "x/sync x/sys x/net", ""},
	{"bench/load", "client/* proto/*", "x/sys pion/srtp pion/rtp", "*"},      // it acts from outside: any IMS may be at the other end
	{"bench/media", "bench/load proto/sdp", "x/sys pion/rtp pion/srtp", "*"}, // likewise: any relay
	{"bench/*", "*", "x/sync x/sys x/net", ""},
}

// forEveryTest is what the tests of any room above the ground floor may import besides.
const forEveryTest = "secure/mint policy/lab test/peer test/port refpoint/*/*test hop/*test store store/* proto/*test"

// forGroundTests is what every test may import, the ground floor's too.
const forGroundTests = "test/peer goleak rapid txtar"

// modules are the third-party modules that the house may use at all, by the names of the table.
// docs/decisions/001-go-and-modules.md gives the reason and the licence of each.
var modules = map[string]string{
	"go-toml":        "github.com/pelletier/go-toml/v2",
	"goleak":         "go.uber.org/goleak",
	"gvisor":         "gvisor.dev/gvisor",
	"kong":           "github.com/alecthomas/kong",
	"miekg/dns":      "github.com/miekg/dns",
	"pion/dtls":      "github.com/pion/dtls/v3",
	"pion/rtcp":      "github.com/pion/rtcp",
	"pion/rtp":       "github.com/pion/rtp",
	"pion/sdp":       "github.com/pion/sdp/v3",
	"pion/srtp":      "github.com/pion/srtp/v3",
	"pion/stun":      "github.com/pion/stun/v3",
	"pion/transport": "github.com/pion/transport/v5",
	"pgx":            "github.com/jackc/pgx/v5",
	"prometheus":     "github.com/prometheus/client_golang",
	"rapid":          "pgregory.net/rapid",
	"sqlite":         "modernc.org/sqlite",
	"txtar":          "golang.org/x/tools",
	"x/crypto":       "golang.org/x/crypto",
	"x/net":          "golang.org/x/net",
	"x/sync":         "golang.org/x/sync",
	"nftables":       "github.com/google/nftables",
	"x/sys":          "golang.org/x/sys",
	"go-jose":        "github.com/go-jose/go-jose/v4",
}

// ban gives the reason why a row does not allow an import. The first that fits is quoted.
type ban struct{ from, to, why string }

var bans = []ban{
	{"imsbox/*", "imsbox/*", "functions meet only through refpoint"},
	{"imsbox/*", "refpoint/*/*wire", "a function knows the contract, not its wire form; node plugs that in"},
	{"imsbox/*", "servicebox/* client/*", "boxes meet only at the doors"},
	{"imsbox/*", "iface/*", "a door serves a function through a refpoint, the function does not know the door"},
	{"servicebox/*", "imsbox/* iface/* hop refpoint/* policy", "a service knows the SDK and nothing of the core, as a stranger's would"},
	{"client/*", "imsbox/* iface/* hop refpoint/* policy node store", "the client shares nothing with the core but proto: it must not share its bugs"},
	{"proof/attack", "imsbox/* iface/* servicebox/* hop refpoint/* policy node store", "the attacker must not share the defence's bugs"},
	{"bench/load bench/media", "*", "the generator must not share the core's bugs, nor favour it"},
	{"*", "secure/mint", "only doors, the node listener and tests make proofs; anyone else could forge one"},
	{"*", "policy/lab", "only the prove and attack verbs and tests may switch a control off"},
	{"*", "secure/internal/*", "the sealed type is reached through secure"},
	{"secure", "*", "the words of security stand on the standard library alone"},
	{"proto/*", "proto/*", "not below it on the ground floor: protocols stay usable one by one"},
	{"proto/*", "*", "the ground floor stands on nothing above it"},
	{"*", "refpoint/*/*wire", "wire forms are chosen by node alone"},
	{"*", "node", "node is the only assembler; what it builds cannot call it"},
	{"*", "cmd/* web", "verbs and pages stand on top"},
	{"*", "proof/*", "the house does not know who proves it"},
	{"*", "check test/*", "for tests only"},

	{"*", "goleak rapid txtar", "for tests only"},
	{"*", "sqlite pgx", "SQL stays behind store"},
	{"*", "gvisor", "its API moves, so only proto/espnet touches it"},
	{"*", "pion/dtls pion/srtp pion/rtp pion/rtcp pion/stun pion/transport", "media protocols stay in proto/rtpport and the client"},
	{"*", "go-jose", "tokens are read and signed on the ground floor alone"},
	{"*", "prometheus", "hot paths count in plain atomics; trace exports them"},
	{"*", "go-toml", "configuration is read in config, once, whole; manifests in refpoint/isc"},
	{"*", "kong", "verbs are in cmd"},
}

// standardBans are parts of the standard library that the house does without.
var standardBans = []struct{ pkg, except, why string }{
	{"C", "", "the binary is static Go; C would bring its memory errors"},
	{"unsafe", "proto/mmsg proto/siptransport proto/rtpport proto/slab bench/load bench/media", "only batched system calls and the slabs need it"},
	{"plugin", "", "assembly is an explicit list in node"},
	{"expvar", "", "it registers itself on the default HTTP server"},
	{"net/http/pprof", "", "it registers itself, and a heap profile holds keys"},
	{"encoding/gob", "", "records have a stated form; gob's follows the Go types"},
	{"log", "", "logging is log/slog, passed in"},
	{"crypto/des", "proto/esp", "withdrawn; only to recognise what a phone offers"},
	{"crypto/rc4", "", "broken"},
}

// shortName returns the table's name of the module that an import path belongs to.
func shortName(target string) (string, bool) {
	for name, mod := range modules {
		if target == mod || strings.HasPrefix(target, mod+"/") {
			return name, true
		}
	}
	return "", false
}

func rowOf(room string) (row, bool) {
	for _, r := range floorPlan {
		if matches(r.room, room) {
			r.ours = strings.ReplaceAll(r.ours, "^", path.Dir(room))
			return r, true
		}
	}
	return row{}, false
}

// floorPlanProblems checks every import of every file, whatever its build tags.
func floorPlanProblems(tr *tree) []string {
	var problems []string
	tr.each(func(p *pkg, f *file) {
		r, ok := rowOf(p.dir)
		if !ok {
			problems = append(problems, p.dir+" is not on the floor plan: give it a row in check/floorplan_test.go")
			return
		}
		for _, spec := range f.ast.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			if why := refused(r, p.dir, target, f.test); why != "" {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s (%s)", p.dir, strings.TrimPrefix(target, module+"/"), why, tr.at(spec)))
			}
		}
	})
	return problems
}

// refused returns why a room may not import target, or nothing if it may.
func refused(r row, room, target string, test bool) string {
	name, ours := strings.CutPrefix(target, module+"/")
	if !ours {
		if !strings.Contains(strings.Split(target, "/")[0], ".") {
			return standardRefused(room, target, test)
		}
		var known bool
		if name, known = shortName(target); !known {
			return "no module of the house: docs/decisions/001-go-and-modules.md tells how to add one"
		}
	}
	allowed := r.foreign
	if ours {
		allowed = r.ours
	}
	if test {
		allowed += " " + r.ours + " " + r.foreign + " " + r.test + " " + forGroundTests
		if !strings.HasPrefix(room, "proto/") {
			allowed += " " + forEveryTest
		}
	}
	if name == room && test || name != room && matches(allowed, name) {
		return ""
	}
	return reason(room, name)
}

// reason quotes the ban, or the rule that what is not listed is refused.
func reason(room, name string) string {
	for _, b := range bans {
		if matches(b.from, room) && matches(b.to, name) {
			return b.why
		}
	}
	return "not in its row of check/floorplan_test.go, and what is not listed is refused"
}

func standardRefused(room, target string, test bool) string {
	for _, b := range standardBans {
		if b.pkg == target && !test && !matches(b.except, room) {
			return b.why
		}
	}
	return ""
}

func TestFloorPlan(t *testing.T) {
	report(t, floorPlanProblems(theHouse(t)))
}

func TestFloorPlanRefuses(t *testing.T) {
	demonstrate(t, floorPlanProblems, []show{
		{"function to function", "-- imsbox/scscf/a.go --\npackage scscf\nimport _ \"imsafe/imsbox/hss\"\n",
			[]string{"imsbox/scscf imports imsbox/hss: functions meet only through refpoint (imsbox/scscf/a.go:2)"}},
		{"function to function in a test", "-- imsbox/scscf/a_test.go --\npackage scscf\nimport _ \"imsafe/imsbox/hss\"\n",
			[]string{"imsbox/scscf imports imsbox/hss: functions meet only through refpoint"}},
		{"function to wire form", "-- imsbox/scscf/a.go --\npackage scscf\nimport _ \"imsafe/refpoint/cx/cxwire\"\n",
			[]string{"imsbox/scscf imports refpoint/cx/cxwire: a function knows the contract"}},
		{"client to core", "-- client/ue/a.go --\npackage ue\nimport _ \"imsafe/hop\"\n",
			[]string{"client/ue imports hop: the client shares nothing with the core"}},
		{"ground floor upwards", "-- proto/sip/a.go --\npackage sip\nimport _ \"imsafe/secure\"\n",
			[]string{"proto/sip imports secure: the ground floor stands on nothing above it"}},
		{"proofs forged by a function", "-- imsbox/icscf/a.go --\npackage icscf\nimport _ \"imsafe/secure/mint\"\n",
			[]string{"imsbox/icscf imports secure/mint: only doors"}},
		{"proofs made by a test", "-- imsbox/icscf/a_test.go --\npackage icscf\nimport _ \"imsafe/secure/mint\"\n", nil},
		{"wire form knows its own contract", "-- refpoint/cx/cxwire/a.go --\npackage cxwire\nimport _ \"imsafe/refpoint/cx\"\n", nil},
		{"wire form knows no other contract", "-- refpoint/cx/cxwire/a.go --\npackage cxwire\nimport _ \"imsafe/refpoint/sh\"\n",
			[]string{"refpoint/cx/cxwire imports refpoint/sh: not in its row"}},
		{"module in the wrong room", "-- imsbox/hss/a.go --\npackage hss\nimport _ \"modernc.org/sqlite\"\n",
			[]string{"imsbox/hss imports modernc.org/sqlite: SQL stays behind store"}},
		{"test module in production code", "-- hop/a.go --\npackage hop\nimport _ \"pgregory.net/rapid\"\n",
			[]string{"hop imports pgregory.net/rapid: for tests only"}},
		{"test module in a test", "-- proto/sip/a_test.go --\npackage sip\nimport _ \"pgregory.net/rapid\"\n", nil},
		{"unknown module", "-- hop/a.go --\npackage hop\nimport _ \"example.org/left-pad\"\n",
			[]string{"hop imports example.org/left-pad: no module of the house"}},
		{"unknown room", "-- util/a.go --\npackage util\n", []string{"util is not on the floor plan"}},
		{"cgo", "-- hop/a.go --\npackage hop\nimport \"C\"\n", []string{"hop imports C: the binary is static Go"}},
		{"external test imports its own package", "-- hop/a_test.go --\npackage hop_test\nimport _ \"imsafe/hop\"\n", nil},
	})
}

// TestFloorPlanIsOneTable refuses rows that cannot hold because an earlier one takes their room, and
// names in the table that stand for no module.
func TestFloorPlanIsOneTable(t *testing.T) {
	for i, r := range floorPlan {
		if first, _ := rowOf(r.room); first.room != r.room {
			t.Errorf("row %d (%s) is never used: the row %s stands before it", i, r.room, first.room)
		}
		for _, name := range strings.Fields(r.foreign) {
			if modules[name] == "" {
				t.Errorf("row %s: %q is not in the list of modules", r.room, name)
			}
		}
	}
}
