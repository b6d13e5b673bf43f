package handset

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
)

// set is one set of four security associations, and the sockets that use it.
type set struct {
	number         int
	pair           Pair
	uc, us, pc, ps uint16    // ports: of the UE, of the P-CSCF; client, server
	spi            [4]uint32 // of the associations that lead to them
	verify         []string  // the Security-Server, to be repeated
	udp            *net.UDPConn
	tcp            *net.TCPConn // to the P-CSCF's server port, if it was opened
	stands         bool
}

// entry is one mechanism of Security-Server (TS 33.203 Annex H).
type entry struct {
	pair       Pair
	mode       string
	q          string
	spiC, spiS uint32
	pc, ps     uint16
}

func readEntry(value string) (e entry, ok bool) {
	mechanism, rest, _ := strings.Cut(value, ";")
	p := parameters(rest, ";")
	if strings.TrimSpace(mechanism) != "ipsec-3gpp" || p["prot"] != "" && p["prot"] != "esp" {
		return e, false
	}
	var numbers [4]uint64
	for i, name := range []string{"spi-c", "spi-s", "port-c", "port-s"} {
		n, err := strconv.ParseUint(p[name], 10, 32)
		if err != nil {
			return e, false
		}
		numbers[i] = n
	}
	e = entry{Pair{p["alg"], p["ealg"]}, p["mod"], p["q"], uint32(numbers[0]), uint32(numbers[1]), uint16(numbers[2]), uint16(numbers[3])}
	if e.pair.EAlg == "" {
		e.pair.EAlg = "null"
	}
	if e.mode == "" {
		e.mode = "trans"
	}
	return e, true
}

// choose takes the entry with the highest preference among those offered (RFC 3329 2.3.1).
func (h *Handset) choose(server []string) (best entry, err error) {
	found := false
	for _, value := range server {
		e, ok := readEntry(value)
		if !ok || e.mode != h.mode() {
			continue
		}
		for _, p := range h.c.Pairs {
			if p == e.pair && (!found || e.q > best.q) {
				best, found = e, true
			}
		}
	}
	if !found {
		return best, fmt.Errorf("none of %q was offered", server)
	}
	return best, nil
}

// mode is how its ESP travels.
func (h *Handset) mode() string {
	if h.c.Gateway.IsValid() {
		return "UDP-enc-tun"
	}
	return "trans"
}

// install gives the kernel the associations and policies of a set (TS 33.203 7.1, 7.2) and opens its client port.
func (h *Handset) install(s *set, ck, ik [16]byte) error {
	words, err := s.pair.words(ck, ik)
	if err != nil {
		return err
	}
	var script bytes.Buffer
	mode, encap := "transport", ""
	if h.c.Gateway.IsValid() {
		mode, encap = "tunnel", "encap espinudp 4500 4500 "+netip.IPv4Unspecified().String()
		if h.inner.Is6() {
			encap = "encap espinudp 4500 4500 ::"
		}
	}
	for i, a := range h.directions(s) {
		fmt.Fprintf(&script, "xfrm state add src %v dst %v proto esp spi %#x reqid %d mode %s replay-window 32 %s %s\n", a.outer[0], a.outer[1], s.spi[i],
			s.id(i), mode, words, encap)
		for _, protocol := range []string{"udp", "tcp"} {
			fmt.Fprintf(&script, "xfrm policy add %s tmpl src %v dst %v proto esp reqid %d mode %s\n", a.selector(protocol), a.outer[0], a.outer[1], s.id(i), mode)
		}
	}
	if err := ip(script.String()); err != nil {
		return err
	}
	s.stands = true
	s.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.inner, s.uc)))
	if err != nil {
		return err
	}
	go h.datagrams(s.udp)
	return nil
}

// id is what a policy finds its association by, among those of the telephone.
func (s *set) id(association int) int { return 1 + 4*s.number + association }

// direction is one association: between which addresses, ports and, where there is a tunnel, outer addresses.
type direction struct {
	from, to netip.AddrPort
	outer    [2]netip.Addr
	dir      string
}

func (a *direction) selector(protocol string) string {
	return fmt.Sprintf("src %v/%d dst %v/%d proto %s sport %d dport %d dir %s", a.from.Addr(), a.from.Addr().BitLen(), a.to.Addr(), a.to.Addr().BitLen(), protocol,
		a.from.Port(), a.to.Port(), a.dir)
}

// directions are the four associations of a set, in the order of its SPIs.
func (h *Handset) directions(s *set) [4]direction {
	here, there := h.c.Local, h.c.Proxy
	if h.c.Gateway.IsValid() {
		there = h.c.Gateway
	}
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.inner, port) }
	far := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.c.Proxy, port) }
	return [4]direction{
		toUC: {far(s.ps), at(s.uc), [2]netip.Addr{there, here}, "in"},
		toUS: {far(s.pc), at(s.us), [2]netip.Addr{there, here}, "in"},
		toPC: {at(s.us), far(s.pc), [2]netip.Addr{here, there}, "out"},
		toPS: {at(s.uc), far(s.ps), [2]netip.Addr{here, there}, "out"},
	}
}

// Associations by the port that they lead to.
const (
	toUC = iota
	toUS
	toPC
	toPS
)

// remove takes the set from the kernel.
func (h *Handset) remove(s *set) error {
	if !s.stands {
		return nil
	}
	s.stands = false
	var script strings.Builder
	for i, a := range h.directions(s) {
		fmt.Fprintf(&script, "xfrm state delete src %v dst %v proto esp spi %#x\n", a.outer[0], a.outer[1], s.spi[i])
		for _, protocol := range []string{"udp", "tcp"} {
			fmt.Fprintf(&script, "xfrm policy delete %s\n", a.selector(protocol))
		}
	}
	_ = s.udp.Close()
	if s.tcp != nil {
		_ = s.tcp.SetLinger(0) // nothing more leaves by this port, not in clear either
		_ = s.tcp.Close()
	}
	return ip(script.String())
}

// ip runs commands of iproute2, all of them also if one fails.
func ip(script string) error {
	cmd := exec.Command("/sbin/ip", "-force", "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New("iproute2: " + err.Error() + ": " + string(out))
	}
	return nil
}
