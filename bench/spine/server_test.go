// Package spine measures what a registration, a refresh, a message and a call cost the core: a real node in a process of
// its own, a real store on a real disk, real sockets on loopback, clients in this process. The figure is the CPU that the
// kernel accounts to the node's process, by scenario.
//
//	go test ./bench/spine -bench . -benchtime 20000x
//
// IMSAFE_PROFILE=file writes the node's CPU profile of the last benchmark there, IMSAFE_ALLOCATIONS=file what it allocated, and where.
package spine

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/secure"
)

const (
	domain = "ims.mnc001.mcc001.3gppnetwork.org"
	users  = 4096
)

// scheme is how a user registers: the second half over TLS, where AKAv1 is not taken (RFC 4169).
func scheme(user int) aka.DigestAlgorithm {
	if user < users/2 {
		return aka.AKAv1MD5
	}
	return aka.AKAv2SHA256
}

// key derives the keys of the bench's subscribers, so that both processes know them.
func key(what string, user int) (k [16]byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", what, user))
	copy(k[:], sum[:])
	return k
}

const (
	childDirectory = "IMSAFE_BENCH_NODE"
	childShards    = "IMSAFE_BENCH_SHARDS"
	childBudgets   = "IMSAFE_BENCH_BUDGETS"  // not empty: those of production
	childDatabase  = "IMSAFE_BENCH_DATABASE" // where it is; the node has the number in childNumber, and the first one provisions
	childNumber    = "IMSAFE_BENCH_NUMBER"
	childControls  = "IMSAFE_BENCH_CONTROLS" // not empty: those of C-I that a lab can do without are off
)

// TestMain runs the node when this binary is the child.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirectory); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve is the child: it provisions, says where it listens, and does what it is told on standard input.
func serve(dir string) error {
	c := config.Default()
	const much = 1 << 30 // a few clients stand for many
	c.Budget = config.Budget{Calls: much, Messages: much, Subscriptions: much, Transfers: much, Notifications: much, Others: much}
	c.Node.Lab, c.Node.DataDir, c.Node.Shards = true, dir, 1
	if os.Getenv(childShards) != "" {
		c.Node.Shards = 2
	} else {
		pin(0)
	}
	c.IMS.Domain = domain
	loopback := []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}}
	c.CI.LabUDP.Listen, c.CI.TLS.Listen, c.CI.IPsec.Listen, c.CI.IPsec.ESP = loopback, loopback, loopback, "off"
	c.CI.IPsec.Profile = "handset"
	c.CI.Digest.Enabled, c.CI.DigestMD5.Enabled = true, true
	if os.Getenv(childBudgets) == "" {
		c.CI.Budget = config.Wide() // all clients share 127.0.0.1; what a check costs is the same
	}
	c.Metrics.Listen = config.Address{}
	inDatabase(&c)
	services, err := newPlatforms(&c)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	clock := shard.RealClock()
	st, err := openStore(&c, clock, log)
	if err != nil {
		return err
	}
	defer st.Close()
	keyring, err := newKeyring(&c)
	if err != nil {
		return err
	}
	sockets, err := node.Listen(&c, c.Node.Shards, func(taken netip.AddrPort) (netip.AddrPort, bool) { return netip.AddrPortFrom(taken.Addr(), 0), true })
	if err != nil {
		return err
	}
	certificate, err := certify(dir + authority)
	if err != nil {
		return err
	}
	n, err := node.New(node.Options{Config: &c, Clock: clock, Random: rand.Reader, Log: log, Store: st, Keyring: keyring,
		Certificate: certificate, Sockets: sockets, Policy: controls(), Overload: patience(&c)})
	if err != nil {
		return err
	}
	if c.Node.Number == 1 {
		if err := errors.Join(provision(n), populate(n)); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if os.Getenv("GOGC") == "" {
		go node.PaceCollector(ctx, uint64(c.Node.Heap)) // as imsafe run does
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	secured, lab := sockets.Addresses()
	if err := services.join(n, &c, servicesOf(dir)); err != nil {
		return err
	}
	addresses := []any{"ready", lab[0], secured[0], sockets.IPsec[0].Clear[0].LocalAddr(), sockets.IPsec[0].NAT.LocalAddr()}
	if sockets.ISC != nil {
		addresses = append(addresses, sockets.ISC.Addr())
	}
	fmt.Println(addresses...)
	obey(n)
	stop()
	return <-done
}

// controls are all, or those that no laboratory can do without; of C-I alone.
func controls() policy.Effective {
	p := policy.Default()
	if os.Getenv(childControls) == "" {
		return p
	}
	for _, row := range policy.Rows() {
		if row.Door == policy.CI && row.Ablatable && row.Control != secure.CIAuthenticationAKA { // a registration without a challenge is another one
			p, _ = p.Ablate(row.Control) // it says that it can
		}
	}
	return p
}

// authority is where the certificate that clients trust lies, beside the directory of the node.
const authority = ".ca.pem"

func certify(file string) (*tls.Certificate, error) {
	authority, err := ca.New(rand.Reader, time.Now, domain, time.Hour)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, authority.PEM(), 0o600); err != nil {
		return nil, err
	}
	certificate, err := authority.Server(time.Hour, []string{"pcscf." + domain}, nil)
	return &certificate, err
}

// provision adds the subscribers, many at once: each waits for the store.
func provision(n *node.Node) error {
	var group errgroup.Group
	group.SetLimit(64)
	for i := range users {
		group.Go(func() error {
			k, op := key("k", i), key("op", i)
			opc := aka.DeriveOPc(k, op)
			name := fmt.Sprintf("u%05d", i)
			return n.HSS.Add(context.Background(), &hss.Subscriber{Card: hss.Card{IMPI: name + "@" + domain, K: hss.Secret(hex.EncodeToString(k[:])),
				OPc: hss.Secret(hex.EncodeToString(opc[:])), Scheme: scheme(i).String()}, Public: []hss.Public{{IMPU: "sip:" + name + "@" + domain}}})
		})
	}
	return group.Wait()
}

// obey answers "cpu", "allocations", "memory" and "handovers", writes what lives on "live FILE", notes from "count" on what is allocated and writes
// it on "heap FILE", starts a profile on "profile FILE", ends it on "stop", and returns at the end of the input.
func obey(n *node.Node) {
	var profile *os.File
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch word, rest, _ := strings.Cut(lines.Text(), " "); word {
		case "cpu":
			var u syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
			fmt.Println("cpu", (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Nanoseconds())
		case "allocations":
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Println("allocations", m.Mallocs, m.TotalAlloc)
		case "heap":
			heap(rest)
			fmt.Println("heap")
		case "memory":
			tellMemory()
		case "live":
			live(rest)
			fmt.Println("live")
		case "handovers":
			packets, foreign := n.Handovers()
			fmt.Println("handovers", packets, foreign)
		case "count":
			runtime.MemProfileRate = 512
		case "profile":
			profile, _ = os.Create(rest)
			_ = pprof.StartCPUProfile(profile)
		case "stop":
			pprof.StopCPUProfile()
			_ = profile.Close()
		}
	}
}

// heap writes what was allocated since the start, and where.
func heap(name string) {
	file, err := os.Create(name)
	if err == nil {
		err = errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// pin keeps the process on one processor, so that server and clients do not share one: each of its threads, and those that they make.
func pin(cpu int) {
	var set unix.CPUSet
	set.Set(cpu)
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		if id, err := strconv.Atoi(thread.Name()); err == nil {
			_ = unix.SchedSetaffinity(id, &set)
		}
	}
}

// server is the node's process as the bench sees it.
type server struct {
	address, secured netip.AddrPort // lab-udp, TLS
	gm, esp          netip.AddrPort // ipsec-3gpp: first REGISTER, ESP in UDP
	isc              netip.AddrPort // service platforms, if there are some
	dir              string
	trusted          *x509.CertPool
	in               io.WriteCloser
	out              *bufio.Scanner
	cmd              *exec.Cmd
}

func start(b testing.TB, env ...string) *server {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "store")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDirectory+"="+dir, "GOMAXPROCS=2")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s := &server{dir: dir, in: in, out: bufio.NewScanner(out), cmd: cmd}
	for i, address := range strings.Fields(s.ask(b, "", "ready")) {
		*[]*netip.AddrPort{&s.address, &s.secured, &s.gm, &s.esp, &s.isc}[i] = netip.MustParseAddrPort(address)
	}
	pem, err := os.ReadFile(dir + authority)
	if err != nil {
		b.Fatal(err)
	}
	s.trusted = x509.NewCertPool()
	s.trusted.AppendCertsFromPEM(pem)
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func (s *server) ask(b testing.TB, question, answer string) string {
	b.Helper()
	if question != "" {
		fmt.Fprintln(s.in, question)
	}
	for s.out.Scan() {
		if word, rest, _ := strings.Cut(s.out.Text(), " "); word == answer {
			return rest
		}
	}
	b.Fatalf("the node ended before it answered %q", question)
	return ""
}

// allocations are what the node has allocated since its start: objects and octets.
func (s *server) allocations(b testing.TB) (objects, octets uint64) {
	fmt.Sscan(s.ask(b, "allocations", "allocations"), &objects, &octets)
	return objects, octets
}

func (s *server) cpu(b testing.TB) time.Duration {
	var ns int64
	fmt.Sscan(s.ask(b, "cpu", "cpu"), &ns)
	return time.Duration(ns)
}
