// Package host is the machine as the doctor looks at it: clock, files, sockets, interfaces and the packet filter of the host that the
// process runs on. It changes nothing: what it opens it closes, and what it sends goes to addresses of its own.
//
// It implements doctor.Host for Linux, and says elsewhere what it cannot see. Imported by cmd. Safe for concurrent use.
package host

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"imsafe/doctor"
)

// Host is this machine. Its zero value is ready.
type Host struct{}

var _ doctor.Host = Host{}

// moment is how long an answer from this machine may take.
const moment = 500 * time.Millisecond

// Wall implements doctor.Host.
func (Host) Wall() time.Time { return time.Now() }

// ReadFile implements doctor.Host.
func (Host) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// Stat implements doctor.Host.
func (Host) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Owner implements doctor.Host.
func (Host) Owner(info fs.FileInfo) (file, process int) {
	process = os.Geteuid()
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), process
	}
	return process, process
}

// Bind implements doctor.Host.
func (Host) Bind(network string, at netip.AddrPort) error {
	if network == "tcp" {
		ln, err := net.Listen(network, at.String())
		if err != nil {
			return err
		}
		return ln.Close()
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	return conn.Close()
}

// KnockUDP implements doctor.Host: where nobody listens, the kernel tells the sender.
func (Host) KnockUDP(ctx context.Context, at netip.AddrPort) (err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", at.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(moment)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{0xff}); err != nil { // a keep-alive of ESP in UDP (RFC 3948 2.3)
		return err
	}
	_, err = conn.Read(make([]byte, 16))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // nothing comes back from one who listens
	}
	return err
}

// Interface implements doctor.Host.
func (Host) Interface(at netip.Addr) (name string, mtu int, err error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", 0, err
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && (prefix.Addr() == at.WithZone("") || i.Flags&net.FlagLoopback != 0 && prefix.Contains(at)) {
				return i.Name, i.MTU, nil
			}
		}
	}
	return "", 0, syscall.EADDRNOTAVAIL
}

// Translations implements doctor.Host: what nft shows, or iptables where its table is loaded already.
func (h Host) Translations(ctx context.Context) ([]string, error) {
	rules, err := rulesOf(ctx, "nft", "list", "ruleset")
	if err == nil {
		return rules, nil
	}
	loaded, old := os.ReadFile("/proc/net/ip_tables_names")
	if old == nil && strings.Contains(string(loaded), "nat") {
		if rules, old = rulesOf(ctx, "iptables-save", "-t", "nat"); old == nil {
			return rules, nil
		}
	}
	if old == nil { // it can be read, and has no such table; that of nft is open
		return nil, err
	}
	return nil, errors.Join(err, old)
}

// rulesOf returns the lines of a packet filter that rewrite source addresses.
func rulesOf(ctx context.Context, program string, args ...string) (rules []string, err error) {
	path, err := find(program)
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return nil, &fs.PathError{Op: "run", Path: program, Err: err}
	}
	return rewriting(string(out)), nil
}

// rewriting picks the rules out of what nft or iptables-save prints.
func rewriting(text string) (rules []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		words := " " + strings.ToLower(line) + " "
		if strings.Contains(words, " masquerade ") || strings.Contains(words, " snat ") {
			rules = append(rules, line)
		}
	}
	return rules
}

// find looks where distributions put programs for root, too.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + program); err == nil {
			return path, nil
		}
	}
	return "", err
}
