package doctor

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"imsafe/proto/siptransport"
)

// wantedBuffer is what sockets ask for, in octets.
const wantedBuffer = siptransport.SocketBuffer

// encapsulation looks at how ESP gets here.
func (x *examination) encapsulation() {
	c := x.Config.CI.IPsec
	x.dropping()
	x.kernel()
	for _, a := range c.Listen {
		if c.ESP != "off" && !x.kernelCarries(a.Addr()) {
			x.raw(a.Addr())
		}
		if c.NATPort != 0 {
			x.nat(netip.AddrPortFrom(a.Addr(), c.NATPort))
		}
	}
}

// kernel looks whether the kernel can do ESP, where it is asked to.
func (x *examination) kernel() {
	c := x.Config.CI.IPsec
	if len(c.Listen) == 0 || c.Backend == "user" || c.ESP == "off" {
		return
	}
	level := Hint // "auto" leaves it open
	if c.Backend == "kernel" {
		level = Breaks
	}
	switch at := c.Listen[0].Addr(); {
	case x.kernelCarries(at):
		x.fine(ESPKernel, "the kernel carries ESP on IP")
	case x.Node != nil && x.Node.Health != nil:
		x.add(ESPKernel, level, "the node that runs does ESP itself: its kernel could not when it started")
	case errors.Is(x.KernelErr, fs.ErrPermission) && x.Blind, x.KernelErr == nil:
		x.unchecked(ESPKernel, asTheNode, "whether the kernel carries ESP cannot be seen by this user")
	default:
		x.add(ESPKernel, level, "the kernel cannot carry ESP as it is configured: %v", x.KernelErr)
	}
}

// kernelCarries reports whether the kernel does ESP on IP at an address: of the node that runs, or of one that would start now.
func (x *examination) kernelCarries(at netip.Addr) bool {
	if x.Node != nil && x.Node.Health != nil {
		for _, i := range x.Node.Health.IPsec {
			if i.Listen.Addr() == at {
				return i.Kernel
			}
		}
	}
	return x.Node == nil && !x.Blind && x.Config.CI.IPsec.Backend != "user" && x.KernelErr == nil
}

// dropping looks whether the kernel takes rules for sources, where it is asked to. A node that runs has them.
func (x *examination) dropping() {
	switch {
	case !x.Config.CI.Drop.Enabled:
	case x.Node != nil:
		x.fine(KernelDrop, "the node that runs has its rules in the kernel")
	case x.Blind:
		x.unchecked(KernelDrop, asTheNode, "whether the kernel takes rules cannot be seen by this user")
	case x.DropErr != nil:
		x.breaks(KernelDrop, "[ci.drop] is enabled, and the kernel takes no rules: %v", x.DropErr)
	default:
		x.fine(KernelDrop, "the kernel takes rules for sources")
	}
}

// raw looks at ESP on IP: the node's own socket, or whether there could be one, and whether packets come to it.
func (x *examination) raw(at netip.Addr) {
	loop := x.host.LoopESP(x.ctx, at)
	forbidden := errors.Is(loop, fs.ErrPermission)
	level := Hint // "auto" leaves it open
	if x.Config.CI.IPsec.ESP == "on" {
		level = Breaks
	}
	switch has, known := x.nodeHasESP(at); {
	case known && !has:
		x.add(ESPRaw, level, "the node that runs has no raw socket for ESP at %v: telephones without a NAT in between are not heard", at)
	case known:
		x.fine(ESPRaw, "the node has a raw socket for ESP at %v", at)
	case forbidden && x.Blind:
		x.unchecked(ESPRaw, asTheNode, "this user may not open a raw socket for ESP at %v; whether the node has one cannot be seen", at)
	case forbidden:
		x.add(ESPRaw, level, "this user may not open a raw socket for ESP at %v: a node that is started like this does not hear telephones without a NAT in between", at)
	case loop == nil || errors.Is(loop, ErrNoEcho):
		x.fine(ESPRaw, "a raw socket for ESP opens at %v", at)
	}
	switch {
	case loop == nil:
		x.fine(ESPLoop, "ESP that this machine sends to %v arrives", at)
	case errors.Is(loop, ErrNoEcho):
		x.breaks(ESPLoop, "ESP that this machine sends to %v does not arrive: something here drops IP protocol 50", at)
	case forbidden:
		x.unchecked(ESPLoop, withRaw, "whether ESP arrives at %v can be tried only with CAP_NET_RAW", at)
	case errors.Is(loop, syscall.EADDRNOTAVAIL): // said already
	default:
		x.unchecked(ESPLoop, lookAgain, "ESP at %v: %v", at, loop)
	}
}

// ErrNoEcho says that a socket opened, and what was sent over it did not come.
var ErrNoEcho = errors.New("doctor: what was sent did not arrive")

// nodeHasESP says whether the node that runs has a raw socket, if it could be asked.
func (x *examination) nodeHasESP(at netip.Addr) (has, known bool) {
	if x.Node == nil || x.Node.Health == nil {
		return false, false
	}
	for _, i := range x.Node.Health.IPsec {
		if i.Listen.Addr() == at {
			return i.ESP, true
		}
	}
	return false, false
}

// nat looks at ESP in UDP. Where no node runs it is the port alone, which addresses has tried.
func (x *examination) nat(at netip.AddrPort) {
	if x.Node == nil {
		return
	}
	switch err := x.host.KnockUDP(x.ctx, at); {
	case errors.Is(err, syscall.ECONNREFUSED):
		x.breaks(ESPNAT, "nobody listens on UDP %v, where ESP of clients behind a NAT comes", at)
	case err != nil:
		x.unchecked(ESPNAT, lookAgain, "UDP %v: %v", at, err)
	default:
		x.fine(ESPNAT, "UDP %v is open for ESP of clients behind a NAT", at)
	}
}

// path looks at what packets meet on their way in.
func (x *examination) path() {
	x.buffers()
	x.drops()
	for _, at := range x.clientAddresses() {
		x.mtu(at)
	}
	if len(x.Config.CI.IPsec.Listen) > 0 {
		x.fragments()
		x.translations()
	}
}

// clientAddresses are those that clients reach, each once.
func (x *examination) clientAddresses() (all []netip.Addr) {
	for _, list := range [][]netip.AddrPort{addressesOf(x.Config.CI.IPsec.Listen), addressesOf(x.Config.CI.TLS.Listen)} {
		for _, a := range list {
			if !slices.Contains(all, a.Addr()) {
				all = append(all, a.Addr())
			}
		}
	}
	return all
}

func (x *examination) buffers() {
	var small []string
	for _, name := range []string{"rmem_max", "wmem_max"} {
		text, err := x.host.ReadFile("/proc/sys/net/core/" + name)
		n, wrong := strconv.Atoi(strings.TrimSpace(string(text)))
		if err = errors.Join(err, wrong); err != nil {
			x.unchecked(UDPBuffers, onTheHost, "net.core.%s cannot be seen here (in a container it is the host's)", name)
			return
		}
		if n < wantedBuffer {
			small = append(small, "net.core."+name+" is "+strconv.Itoa(n))
		}
	}
	if len(small) == 0 {
		x.fine(UDPBuffers, "UDP sockets get the buffers that they ask for, %d octets", wantedBuffer)
		return
	}
	f := x.add(UDPBuffers, Hint, "%s; the node asks for %d octets", strings.Join(small, " and "), wantedBuffer)
	f.Do = strings.ReplaceAll(f.Do, "%d", strconv.Itoa(wantedBuffer))
}

// drops looks at what the kernel has dropped at the sockets of the node that runs, since they were opened.
func (x *examination) drops() {
	if x.Node == nil {
		return
	}
	var all uint64
	seen, worst, at := false, uint64(0), uint16(0)
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		text, err := x.host.ReadFile(name)
		if err != nil {
			continue // without IPv6 there is no second
		}
		seen = true
		for port, n := range dropsOf(string(text)) {
			if !x.receives(port) {
				continue
			}
			if all += n; n > worst {
				worst, at = n, port
			}
		}
	}
	switch {
	case !seen:
		x.unchecked(UDPDrops, onTheHost, "what the kernel has dropped at UDP sockets cannot be seen here")
	case all > 0:
		x.hint(UDPDrops, "the kernel has dropped %d datagrams that came to the node's UDP sockets, most of them at port %d: %d", all, at, worst)
	default:
		x.fine(UDPDrops, "the kernel has dropped no datagram that came to the node's UDP sockets")
	}
}

// receives reports whether a port of UDP is one of the configuration's.
func (x *examination) receives(port uint16) bool {
	for _, a := range x.Config.CS.Listen {
		if n := int(port) - int(a.Port()); n >= 0 && n < x.Config.CS.Ports {
			return true
		}
	}
	return slices.ContainsFunc(sockets(x.Config), func(s socket) bool { return s.network == "udp" && s.at.Port() == port })
}

// dropsOf returns the datagrams that were dropped at UDP sockets, by port, out of what the kernel shows of these (proc_net_udp): the second column is the address
// in hexadecimal digits, the last one counts them.
func dropsOf(text string) map[uint16]uint64 {
	dropped := map[uint16]uint64{}
	for line := range strings.Lines(text) {
		columns := strings.Fields(line)
		if len(columns) < 13 {
			continue
		}
		_, local, _ := strings.Cut(columns[1], ":")
		port, err := strconv.ParseUint(local, 16, 16)
		n, wrong := strconv.ParseUint(columns[len(columns)-1], 10, 64)
		if err == nil && wrong == nil {
			dropped[uint16(port)] += n
		}
	}
	return dropped
}

func (x *examination) mtu(at netip.Addr) {
	if at.IsUnspecified() {
		x.unchecked(PathMTU, "`ip link`", "%v is every address, so no interface is known", at)
		return
	}
	switch name, mtu, err := x.host.Interface(at); {
	case err != nil: // that the address is not here is said already
	case mtu < 1280:
		x.breaks(PathMTU, "%s, which has %v, takes packets of %d octets at most; IPv6 alone needs 1280 (RFC 8200 5)", name, at, mtu)
	case mtu < 1500:
		x.hint(PathMTU, "%s, which has %v, takes packets of %d octets at most", name, at, mtu)
	default:
		x.fine(PathMTU, "%s, which has %v, takes packets of %d octets", name, at, mtu)
	}
}

// fragmented is an INVITE of a telephone with everything, in octets.
const fragmented = 3000

func (x *examination) fragments() {
	for _, a := range x.Config.CI.IPsec.Listen {
		switch err := x.host.LoopFragments(x.ctx, a.Addr(), fragmented); {
		case err == nil:
			x.fine(Fragments, "a datagram of %d octets in fragments is put together at %v", fragmented, a.Addr())
		case errors.Is(err, ErrNoEcho):
			x.breaks(Fragments, "a datagram of %d octets in fragments, sent to %v from this machine, does not arrive: something here drops fragments", fragmented, a.Addr())
		case errors.Is(err, fs.ErrPermission):
			x.unchecked(Fragments, withRaw, "whether fragments arrive at %v can be tried only with CAP_NET_RAW", a.Addr())
		case errors.Is(err, syscall.EADDRNOTAVAIL):
		default:
			x.unchecked(Fragments, lookAgain, "fragments at %v: %v", a.Addr(), err)
		}
	}
}

func (x *examination) translations() {
	if x.Node != nil && x.Node.Health != nil {
		if h := x.Node.Health; h.Translated > 0 {
			x.hint(NATRules, "%d of %d registrations of telephones came through a NAT: their Via has another address than their source", h.Translated, h.Offers)
		}
	}
	rules, err := x.host.Translations(x.ctx)
	if err != nil {
		x.unchecked(NATRules, byHand, "the packet filter of this machine cannot be read: %v", err)
		return
	}
	if len(rules) == 0 {
		x.fine(NATRules, "no rule of this machine rewrites source addresses; that of the packet gateway is for you to look at")
		return
	}
	for _, r := range rules {
		x.hint(NATRules, "a rule of this machine rewrites source addresses: %s", r)
	}
}
