package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"imsafe/bench/media"
	"imsafe/iface/clientservice"
	"imsafe/policy"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
)

// anchorVerb is the argument that makes this program the anchor: the C-S door in a process of its own, as node assembles it, all controls on.
// It reads the ends of calls and writes the seats, a line of JSON each.
const anchorVerb = "anchor"

// anchor is that process, seen from the generator.
type anchor struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	to  *json.Encoder
	out *json.Decoder
}

// startAnchor starts it at an address of loopback.
func startAnchor(at netip.Addr) (*anchor, error) {
	a := &anchor{cmd: exec.Command(os.Args[0], anchorVerb, at.String())}
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	in, err := a.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.in, a.to, a.out = in, json.NewEncoder(in), json.NewDecoder(out)
	return a, a.cmd.Start()
}

// Name implements media.Relay.
func (a *anchor) Name() string { return "imsafe" }

// PIDs implements media.Relay.
func (a *anchor) PIDs() []int { return []int{a.cmd.Process.Pid} }

// Join implements media.Relay.
func (a *anchor) Join(ends [2]media.End) (seats [2]media.Seat, err error) {
	if err := a.to.Encode(ends); err != nil {
		return seats, err
	}
	return seats, a.out.Decode(&seats)
}

// Close implements media.Relay.
func (a *anchor) Close() error {
	return errors.Join(a.in.Close(), a.cmd.Wait())
}

// beAnchor is the other side: it ends when its input does.
func beAnchor(address string) error {
	at, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))) // as imsafe run has it
	g, err := clientservice.New(clientservice.Config{Listen: []netip.AddrPort{netip.AddrPortFrom(at, 10000)}, Ports: 50000, Audio: 256, Video: 4096},
		clientservice.Ports{Clock: shard.RealClock(), Random: rand.Reader, Gate: policy.Default().Gate(nil), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			Listen: func(at netip.AddrPort) (net.PacketConn, error) {
				return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			}})
	if err != nil {
		return err
	}
	defer g.Close()
	calls, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var ends [2]media.End
		switch err := calls.Decode(&ends); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		seats, err := link(g, ends)
		if err != nil {
			return err
		}
		if err := answers.Encode(seats); err != nil {
			return err
		}
	}
}

// link makes a call between two clients of this anchor: a session for each, which lead to each other, as two P-CSCFs would make them.
func link(g *clientservice.Gateway, ends [2]media.End) (seats [2]media.Seat, err error) {
	var halves [2]iq.Stream
	for i, e := range ends {
		m := iq.Medium{User: e.At.String(), Kind: "audio", Suites: sdp.Suites()}
		if halves[i], err = g.Reserve(0, m); err != nil {
			return seats, err
		}
		r := iq.Remote{Media: e.At, Control: e.At, Keying: sdp.PlainRTP, Waived: true, Confidential: true}
		r.Types.Add(8)
		seats[i].At = halves[i].Ends[iq.Access].Media
		if e.Key.Suite != "" {
			if seats[i].Key, err = exchange(&r, e.Key, halves[i].Ends[iq.Access].Crypto); err != nil {
				return seats, err
			}
		}
		if err := g.Configure(halves[i].Session, halves[i].Number, iq.Access, 0, r); err != nil {
			return seats, err
		}
	}
	for i, h := range halves {
		core := halves[1-i].Ends[iq.Core]
		r := iq.Remote{Media: core.Media, Control: core.Media, Keying: sdp.DTLSSRTP, Role: sdp.DTLSServer, Fingerprints: core.Fingerprints}
		r.Types.Add(8)
		if err := g.Configure(h.Session, h.Number, iq.Core, 1, r); err != nil {
			return seats, err
		}
		g.Through(h.Session, h.Number, [2]bool{true, true})
	}
	return seats, nil
}

// exchange takes the key of an end, and gives it the anchor's of the same suite.
func exchange(r *iq.Remote, theirs media.Key, ours []sdp.Crypto) (media.Key, error) {
	for _, c := range ours {
		if c.Suite.String() != theirs.Suite {
			continue
		}
		r.Keying, r.Local = sdp.SDES, c
		var err error
		if r.Peer, err = sdp.NewCrypto(bytes.NewReader(theirs.Master), c.Tag, c.Suite); err != nil {
			return media.Key{}, err
		}
		key, salt := c.Key()
		return media.Key{Suite: theirs.Suite, Master: append(bytes.Clone(key), salt...)}, nil
	}
	return media.Key{}, fmt.Errorf("no suite %q", theirs.Suite)
}
