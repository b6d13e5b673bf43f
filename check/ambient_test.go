package check

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// An ability is something a program reaches out of thin air. Functions of the house get it as a parameter,
// so that a whole system can run from a seed, under a fake clock, with a slow disk; only the rooms listed
// take it from the world. The list of rooms gives a reason each.
type ability struct {
	name string
	use  []use
	may  []mayReach
}

// use names what counts as reaching: functions and variables of a package of the standard library.
type use struct {
	pkg   string
	names *regexp.Regexp
}

// names compiles a pattern for whole names.
func names(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(` + pattern + `)$`) }

type mayReach struct{ rooms, why string }

var top = mayReach{"node cmd/* test/* test/kernelesp/* test/foreign/* bench/* web", "they stand on top and hand it down"}

var theMachine = mayReach{"doctor/host", "it is the machine that the doctor is handed"}

var theService = mayReach{"servicebox/as servicebox/as/astest servicebox/link servicebox/media",
	"Open makes a program of a service, in one line, and media.At a media server; InProcess and media.New are handed all of it"}

// abilities are what is handed down. Tests may take all of it, but see sleepProblems.
var abilities = []ability{
	{"the clock", []use{
		{"time", names(`Now|Since|Until|Sleep|After|AfterFunc|Tick|NewTimer|NewTicker`)},
		{"context", names(`WithTimeout|WithTimeoutCause|WithDeadline|WithDeadlineCause`)},
	}, []mayReach{top, {"proto/shard", "RealClock is here"},
		{"proto/siptransport", "a deadline of a socket is the kernel's, so it is in real time"},
		{"iface/management", "net/http serves it, outside the simulation"},
		{"proto/rtpport", "DTLS runs in pion, on real pipes, outside the simulation"},
		{"proof/attack proof/runner", "they meet a real system in real time; sockets and the time of records are handed in"},
		{"store", "the committer's goroutine waits for its window; with Manual the simulation steps it instead"},
		{"store/postgres", "it waits for a server, and each wait has an end in real time; the store of the simulation is the embedded one"},
		theMachine, theService,
	}},

	{"randomness", []use{
		{"crypto/rand", names(`Reader|Read|Text`)}, // the others are handed a reader
		{"math/rand", names(`.*`)},
		{"math/rand/v2", names(`Int.*|Uint.*|Float.*|N|Perm|Shuffle|NormFloat64|ExpFloat64`)},
	}, []mayReach{top, theMachine, theService}},

	{"the network", []use{
		{"net", names(`Dial.*|Listen|Listen(Config|UDP|TCP|IP|Unix|Unixgram|MulticastUDP|Packet)|Lookup.*|Resolve.*|File.*|DefaultResolver|Interfaces|InterfaceAddrs|InterfaceBy.*`)},
		{"crypto/tls", names(`Dial.*|Listen`)},
		{"net/http", names(`Get|Head|Post|PostForm|ListenAndServe.*|Serve|ServeTLS|DefaultClient|DefaultTransport|DefaultServeMux|Handle|HandleFunc`)},
	}, []mayReach{top,
		{"proto/siptransport", "it knows the options that sockets need; node says when to open them"},
		{"proto/mmsg", "the zone of an address is an interface, which has a number for the kernel"},
		{"iface/management", "the verbs' half of it dials the node's Unix socket"},
		theMachine, theService,
	}},

	{"the disk and the process", []use{
		{"os", names(`[A-Z]\w*`)},
		{"os/exec", names(`.*`)}, {"os/signal", names(`.*`)}, {"os/user", names(`.*`)}, {"syscall", names(`[A-Z]\w*`)},
		{"path/filepath", names(`Walk|WalkDir|Glob|Abs|EvalSymlinks`)},
	}, []mayReach{top,
		{"store/disk", "the disk that others are handed"},
		{"store/seal", "it reads and replaces the file of the sealing keys, whose rights it checks"},
		{"store/sqlite", "SQLite opens its files itself; image and backup stay outside the simulation"},
		theMachine, theService,
	}},
}

// harmless are names of those packages that reach nothing: types, constants and tests of errors.
var harmless = regexp.MustCompile(`^(Err\w+|Is(Exist|NotExist|Permission|Timeout)|File(Info|Mode)?|Mode\w*|O_\w+|PathError|LinkError|SyscallError|` +
	`Signal|DirEntry|DevNull|Interrupt|Kill|Errno|E[A-Z]+|SIG[A-Z]+|Conn|RawConn|Sockaddr\w*|S_\w+)$`)

// ambientProblems finds abilities taken where they should have been handed in.
func ambientProblems(tr *tree) []string {
	var problems []string
	tr.each(func(p *pkg, f *file) {
		if f.test {
			return
		}
		for _, a := range abilities {
			if a.allowed(p.dir) {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if name := a.reached(f, n); name != "" {
					problems = append(problems, fmt.Sprintf("%s: %s reaches for %s with %s: take it as a parameter; node hands it in", tr.at(n), p.dir, a.name, name))
				}
				return true
			})
		}
	})
	return problems
}

func (a ability) allowed(room string) bool {
	for _, m := range a.may {
		if matches(m.rooms, room) {
			return true
		}
	}
	return false
}

// reached returns the name by which n reaches for the ability, or nothing.
func (a ability) reached(f *file, n ast.Node) string {
	e, ok := n.(ast.Expr)
	if !ok {
		return ""
	}
	for _, u := range a.use {
		name, ok := f.selects(e, u.pkg)
		if ok && !harmless.MatchString(name) && u.names.MatchString(name) {
			return u.pkg + "." + name
		}
	}
	return ""
}

// sleepProblems refuses tests that wait for real time: they are slow where they are lucky and fail where
// they are not. In a synctest bubble time is virtual; tests of whole processes (test/*) have no choice, and
// a benchmark that offers a rate must pace itself.
func sleepProblems(tr *tree) []string {
	var problems []string
	tr.each(func(p *pkg, f *file) {
		if !f.test || matches("test/* test/foreign/* test/kernelesp/* cmd/*", p.dir) || f.imports["synctest"] != "" || strings.HasSuffix(f.path, "bench_test.go") {
			return
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if name, _ := f.selects(e, "time"); name == "Sleep" {
					problems = append(problems, tr.at(n)+": time.Sleep in a test: use testing/synctest, a fake clock, or wait for the event")
				}
			}
			return true
		})
	})
	return problems
}

// stillRooms start no goroutines: whoever calls them brings the thread.
const stillRooms = "imsbox/* refpoint/* proto/sip proto/sdp proto/aka proto/slab proto/siptxn proto/esp secure policy policy/lab hop"

// notOnAShard are files of those rooms that serve the operator, each on a goroutine that management brings.
const notOnAShard = "imsbox/hss/import.go"

// stillProblems keeps goroutines, channels and select out of code that runs on a shard: a procedure waits
// with Task.Await, which parks it, and everything else on the shard goes on.
func stillProblems(tr *tree) []string {
	var problems []string
	tr.each(func(p *pkg, f *file) {
		if f.test || !matches(stillRooms, p.dir) || matches(notOnAShard, f.path) {
			return
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			what := ""
			switch n := n.(type) {
			case *ast.GoStmt:
				what = "starts a goroutine"
			case *ast.SelectStmt:
				what = "selects"
			case *ast.ChanType:
				what = "uses a channel"
			case *ast.UnaryExpr:
				if n.Op.String() == "<-" {
					what = "receives from a channel"
				}
			}
			if what != "" {
				problems = append(problems, fmt.Sprintf("%s: %s %s: it runs on a shard; wait with Task.Await and be woken", tr.at(n), p.dir, what))
			}
			return true
		})
	})
	return problems
}

func TestAmbient(t *testing.T) { report(t, ambientProblems(theHouse(t))) }

func TestNoSleepInTests(t *testing.T) { report(t, sleepProblems(theHouse(t))) }

func TestStillRooms(t *testing.T) { report(t, stillProblems(theHouse(t))) }

func TestAmbientRefuses(t *testing.T) {
	demonstrate(t, ambientProblems, []show{
		{"clock in a function", "-- imsbox/scscf/a.go --\npackage scscf\nimport \"time\"\nvar d = time.Second\nfunc f() time.Time { return time.Now() }\n",
			[]string{"imsbox/scscf/a.go:4: imsbox/scscf reaches for the clock with time.Now"}},
		{"clock as a value", "-- hop/a.go --\npackage hop\nimport \"time\"\nvar now = time.Now\n",
			[]string{"hop/a.go:3: hop reaches for the clock"}},
		{"clock in node", "-- node/a.go --\npackage node\nimport \"time\"\nvar now = time.Now\n", nil},
		{"a local variable of that name", "-- hop/a.go --\npackage hop\nimport _ \"time\"\nfunc f(time clock) { time.Now() }\n", nil},
		{"import under another name", "-- hop/a.go --\npackage hop\nimport random \"crypto/rand\"\nvar r = random.Reader\n",
			[]string{"hop/a.go:3: hop reaches for randomness with crypto/rand.Reader"}},
		{"seeded randomness", "-- hop/a.go --\npackage hop\nimport \"math/rand/v2\"\nvar r = rand.New(rand.NewPCG(1, 2))\n", nil},
		{"dial", "-- client/ue/a.go --\npackage ue\nimport \"net\"\nvar d = net.Dial\nvar c net.Conn\n",
			[]string{"client/ue/a.go:3: client/ue reaches for the network"}},
		{"disk", "-- imsbox/hss/a.go --\npackage hss\nimport \"os\"\nvar d, _ = os.ReadFile(\"x\")\nvar e = os.ErrNotExist\n",
			[]string{"imsbox/hss/a.go:3: imsbox/hss reaches for the disk"}},
		{"disk in a test", "-- imsbox/hss/a_test.go --\npackage hss\nimport \"os\"\nvar d, _ = os.ReadFile(\"x\")\n", nil},
	})
}

func TestNoSleepInTestsRefuses(t *testing.T) {
	demonstrate(t, sleepProblems, []show{
		{"sleep", "-- hop/a_test.go --\npackage hop\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", []string{"hop/a_test.go:3: time.Sleep in a test"}},
		{"in a bubble", "-- hop/a_test.go --\npackage hop\nimport \"time\"\nimport \"testing/synctest\"\nvar _ = synctest.Test\nfunc f() { time.Sleep(1) }\n", nil},
	})
}

func TestStillRoomsRefuses(t *testing.T) {
	demonstrate(t, stillProblems, []show{
		{"goroutine", "-- imsbox/scscf/a.go --\npackage scscf\nfunc f() { go f() }\n", []string{"imsbox/scscf/a.go:2: imsbox/scscf starts a goroutine"}},
		{"channel", "-- imsbox/scscf/a.go --\npackage scscf\nvar c chan int\nfunc f() { <-c }\n", []string{"imsbox/scscf/a.go:2: imsbox/scscf uses a channel", "imsbox/scscf/a.go:3: imsbox/scscf receives"}},
		{"select", "-- imsbox/scscf/a.go --\npackage scscf\nfunc f() { select {} }\n", []string{"imsbox/scscf/a.go:2: imsbox/scscf selects"}},
		{"elsewhere", "-- node/a.go --\npackage node\nfunc f() { go f() }\n", nil},
	})
}
