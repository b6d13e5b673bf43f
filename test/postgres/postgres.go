// Package postgres runs a PostgreSQL server of Debian's for tests: on a socket in a temporary directory, without a network, as a user
// without privileges, with its data in that directory. It can be killed, and started again over the same data.
//
// It is for tests and benchmarks only.
package postgres

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"imsafe/test/peer"
)

// Server is a PostgreSQL server. It belongs to one test.
type Server struct {
	t        testing.TB
	bin, dir string
	as       *syscall.Credential // whom it runs as; nil: as we do
	settings []string
	port     uint16 // of its sockets
	process  *exec.Cmd
	ended    chan struct{}
}

// Start makes a new cluster in memory, where the machine has a place for that, and runs a server of it until the test ends: a disk that others use
// would be all that is waited for. settings are lines of its configuration, such as "fsync=off".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		return StartIn(t, memory, settings...)
	}
	return StartIn(t, "", settings...)
}

// StartIn is Start in a directory of that one, on its disk; "" is that of temporary files.
func StartIn(t testing.TB, where string, settings ...string) *Server {
	t.Helper()
	wrapper := peer.Need(t, "pg_ctlcluster")
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(versions) == 0 {
		peer.Missing(t, wrapper+" is there, and no server in /usr/lib/postgresql")
	}
	// The name of a socket has at most 107 octets, so the directory has a short name.
	dir, err := os.MkdirTemp(where, "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{t: t, bin: slices.Max(versions), dir: dir, settings: settings, port: usualPort}
	if os.Getuid() == 0 { // the server refuses to run as root
		s.as = nobody(t)
		if err := os.Chown(dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := s.command("initdb", "-D", s.data(), "-U", "imsafe", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// nobody is the user without rights.
func nobody(t testing.TB) *syscall.Credential {
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, errU := strconv.ParseUint(u.Uid, 10, 32)
	gid, errG := strconv.ParseUint(u.Gid, 10, 32)
	if errU != nil || errG != nil {
		t.Fatalf("user nobody has the numbers %s, %s", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, program), args...)
	c.Dir = s.dir
	c.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "LC_ALL=C"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	return c
}

// Run starts the server over its data, and waits until it takes connections.
func (s *Server) Run() {
	s.t.Helper()
	args := []string{"-D", s.data(), "-k", s.dir, "-p", fmt.Sprint(s.port), "-c", "listen_addresses="}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c := s.command("postgres", args...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	s.process, s.ended = c, ended
	go func() {
		_ = c.Wait() // it was killed
		close(ended)
	}()
	for s.command("pg_isready", "-q", "-h", s.dir, "-p", fmt.Sprint(s.port)).Run() != nil {
		select {
		case <-ended:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("the server does not run:\n%s", text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the server as a crash of its machine would, but for the page cache: all its processes at once, without a word. Killed twice is harmless.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = syscall.Kill(s.process.Process.Pid, syscall.SIGSTOP) // so that no more are born
	all := s.Processes()
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have gone by itself
	}
	<-s.ended
	for _, pid := range all { // until the last one is gone its memory is in use, and the next server refuses to start
		for lives(pid) {
			<-time.After(time.Millisecond)
		}
	}
	s.process = nil
}

// Processes are the server's, for who measures what it costs.
func (s *Server) Processes() []int {
	return append(children(s.process.Process.Pid), s.process.Process.Pid)
}

// lives reports whether a process is there, and no mere entry that its parent has not read yet.
func lives(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// children are the processes that the server has started.
func children(of int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", of, of))
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Put writes a file that only the server may read into its directory, and returns its path.
func (s *Server) Put(name string, text []byte) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.own(path)
	return path
}

// own gives a file or directory to whom the server runs as.
func (s *Server) own(path string) {
	s.t.Helper()
	if s.as == nil {
		return
	}
	if err := os.Chown(path, int(s.as.Uid), int(s.as.Gid)); err != nil {
		s.t.Fatal(err)
	}
}

// usualPort stands in the names of sockets; nobody listens there by TCP.
const usualPort = 5432

// Listen adds an address of TCP, with lines to the configuration, and starts the server again.
func (s *Server) Listen(at netip.AddrPort, settings ...string) {
	s.t.Helper()
	s.port = at.Port()
	s.Set(append(settings, "listen_addresses="+at.Addr().String())...)
}

// Set adds lines to the configuration, and starts the server again with them.
func (s *Server) Set(settings ...string) {
	s.t.Helper()
	s.Kill()
	s.settings = append(s.settings, settings...)
	s.Run()
}

// Standby starts another server that follows this one, as a copy of it (streaming replication). It takes no writes until Promote.
func (s *Server) Standby(settings ...string) *Server {
	s.t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(s.dir), "pg")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	other := &Server{t: s.t, bin: s.bin, dir: dir, as: s.as, settings: settings, port: usualPort}
	other.own(dir)
	copied := other.command("pg_basebackup", "-h", s.dir, "-U", "imsafe", "-D", other.data(), "-X", "stream", "-c", "fast", "-R", "--no-sync")
	if out, err := copied.CombinedOutput(); err != nil {
		s.t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	other.Run()
	s.t.Cleanup(other.Kill)
	return other
}

// Promote makes a standby a server that takes writes.
func (s *Server) Promote() {
	s.t.Helper()
	if out, err := s.command("pg_ctl", "promote", "-w", "-D", s.data()).CombinedOutput(); err != nil {
		s.t.Fatalf("pg_ctl promote: %v\n%s", err, out)
	}
}

// Either says how this server is reached, or others that take its place.
func (s *Server) Either(others ...*Server) string {
	hosts, ports := []string{s.dir}, []string{"5432"}
	for _, o := range others {
		hosts, ports = append(hosts, o.dir), append(ports, "5432")
	}
	return "host=" + strings.Join(hosts, ",") + " port=" + strings.Join(ports, ",") + " user=imsafe dbname=postgres"
}

// URL says how the database is reached.
func (s *Server) URL() string {
	return fmt.Sprintf("host=%s port=%d user=imsafe dbname=postgres", s.dir, s.port)
}

// SQL runs statements as the database's owner and returns what they say.
func (s *Server) SQL(statements string) string {
	s.t.Helper()
	out, err := s.command("psql", "-h", s.dir, "-p", fmt.Sprint(s.port), "-U", "imsafe", "-d", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", statements, err, out)
	}
	return strings.TrimSpace(string(out))
}
