package spine

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"imsafe/bench/load"
	"imsafe/node"
)

// childRange, not empty, gives the node so many users of population besides.
const childRange = "IMSAFE_BENCH_RANGE"

// passed is when nothing of a registration is kept any more for those who repeat a request (RFC 3261 17.2.2, timer J is 32 s).
const passed = 40 * time.Second

// population are the users of the memory's measure, the same in both processes.
func population(count int) load.Range {
	scheme := cmp.Or(os.Getenv(childScheme), "AKAv1-MD5")
	return load.Range{Prefix: "m", Digits: 7, Count: count, Seed: "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e", Scheme: scheme}
}

// BenchmarkMemory is P8: what one of b.N registered users takes of the node's memory, all told, without and with four security
// associations. Each has an address of his own. `make memory` asks for a million. Two figures: what lives in Go's heap, and by how much the
// process grew, as the kernel counts it, 40 s after the last registration. IMSAFE_PROFILE=file writes what lives to file.udp and file.esp.
func BenchmarkMemory(b *testing.B) {
	for _, transport := range []load.Transport{load.UDP, load.ESP} {
		b.Run(string(transport), func(b *testing.B) {
			fmt.Fprintf(os.Stderr, "%s: a store of %d subscribers is made\n", transport, b.N)
			s := start(b, fmt.Sprintf("%s=%d", childRange, b.N))
			target := &load.Target{Domain: domain, Proxies: []netip.AddrPort{s.address}, Transport: transport, Expires: 7200, Agent: "bench",
				Clients: load.Clients{Addresses: netip.MustParsePrefix("127.64.0.0/10"), FirstPort: uint16(20000 + os.Getpid()%20000), Ports: 1}}
			if transport == load.ESP {
				target.Proxies, target.ESP = []netip.AddrPort{s.gm}, load.ESPTarget{Port: s.esp.Port(), Integrity: "null", Cipher: "aes-gcm"}
			}
			users := population(b.N)
			all, err := users.Subscribers(domain)
			if err != nil {
				b.Fatal(err)
			}
			pin(1)
			g, err := load.Open(target, all, 1, "memory")
			if err != nil {
				b.Fatal(err)
			}
			defer g.Close()
			before := s.memory(b)
			b.ResetTimer()
			settings := load.Settings{Mix: load.Mix{load.Message: 1}, Patience: 20 * time.Second, Window: 128}
			if b.N > 1 { // the first turn only finds out that it works
				settings.Settle = passed
				settings.Told = func(registered int) {
					fmt.Fprintf(os.Stderr, "%s: %d of %d users are registered\n", transport, registered, b.N)
				}
				fmt.Fprintf(os.Stderr, "%s: %d users register; memory is looked at %v after the last of them\n", transport, b.N, passed)
			}
			if _, err := g.Prepare(b.Context(), &settings); err != nil {
				b.Fatal(err)
			}
			after := s.memory(b)
			n := float64(b.N)
			b.ReportMetric((after.live-before.live)/n, "live-B/user")
			b.ReportMetric((after.resident-before.resident)/n, "resident-B/user")
			b.ReportMetric(after.live/(1<<20), "live-MiB")
			b.ReportMetric(after.resident/(1<<20), "resident-MiB")
			b.ReportMetric(after.needed/(1<<20), "needed-MiB")
			b.ReportMetric(after.most/(1<<20), "peak-MiB")
			if file := os.Getenv("IMSAFE_PROFILE"); file != "" && b.N > 1 {
				s.ask(b, "live "+file+"."+string(transport), "live")
			}
		})
	}
}

// memory is what the node takes, in octets: what lives in its heap, what the process has of the machine, what of that it needs, and the most it had.
type memory struct{ live, resident, needed, most float64 }

func (s *server) memory(b testing.TB) (m memory) {
	fmt.Sscan(s.ask(b, "memory", "memory"), &m.resident, &m.most, &m.live, &m.needed)
	return m
}

// tellMemory answers "memory": resident and peak as they are, then what a collection leaves alive.
func tellMemory() {
	resident, most := status("VmRSS:"), status("VmHWM:")
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.FreeOSMemory()
	fmt.Println("memory", resident, most, m.HeapAlloc, status("VmRSS:"))
}

// status is a line of /proc/self/status, in octets.
func status(name string) (octets int) {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), name)
	fmt.Sscan(rest, &octets)
	return octets << 10
}

// live writes what is alive, and where it was allocated.
func live(name string) {
	file, err := os.Create(name)
	if err == nil {
		err = pprof.Lookup("heap").WriteTo(file, 0)
		file.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// populate imports the users of the memory's measure.
func populate(n *node.Node) error {
	var count int
	if _, err := fmt.Sscan(os.Getenv(childRange), &count); err != nil {
		return nil
	}
	users := population(count)
	all, err := users.Subscribers(domain)
	if err != nil {
		return err
	}
	_, err = n.HSS.Import(context.Background(), &importFile{all: all}, false, nil)
	return err
}

// importFile is the file that imports all, written while it is read.
type importFile struct {
	all  []load.Subscriber
	next int
	line []byte
}

// Read implements io.Reader.
func (f *importFile) Read(b []byte) (int, error) {
	if len(f.line) == 0 {
		if f.next == len(f.all) {
			return 0, io.EOF
		}
		s := &f.all[f.next]
		f.next++
		secret := fmt.Sprintf("\"k\":\"%x\",\"opc\":\"%x\"", s.K[:], s.OPc[:])
		if !s.Scheme.AKA() {
			secret = fmt.Sprintf("\"password\":%q", s.Password)
		}
		f.line = fmt.Appendf(nil, "{\"impi\":%q,%s,\"scheme\":%q,\"public\":[{\"impu\":%q}]}\n", s.IMPI, secret, s.Scheme, s.IMPU)
	}
	n := copy(b, f.line)
	f.line = f.line[n:]
	return n, nil
}

// Seek implements io.Seeker, to the start.
func (f *importFile) Seek(int64, int) (int64, error) {
	f.next, f.line = 0, nil
	return 0, nil
}
