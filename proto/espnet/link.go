package espnet

import (
	"fmt"
	"math"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// MSS is the most octets of a segment without its header, in both directions: what we announce (RFC 9293 3.7.1), and what we send at most. With
// the largest of what may surround it, tunnel mode in UDP over IPv6 with AES-CBC, a packet has 1,492 octets: no fragments on an Ethernet.
const MSS = 1340

// leastMSS is the least that a peer may announce. RFC 9293 3.7.1 sets no bound; one octet a segment would let a client have 64,000 packets
// sealed for one message. No access network of 3GPP is that narrow.
const leastMSS = 256

// announcedMSS is what a segment with SYN announces; 536 if it says nothing, or 0.
func announcedMSS(segment []byte) int {
	return int(header.ParseSynOptions(header.TCP(segment).Options(), false).MSS)
}

const tcpHeader = 20

// link is where gVisor meets us, for one family of addresses: what it takes for a network interface. Its MTU is what makes MSS.
type link struct {
	s     *Stack
	nic   tcpip.NICID
	proto tcpip.NetworkProtocolNumber
	head  int // octets of the IP header

	mu sync.RWMutex
	up stack.NetworkDispatcher // gVisor; nil before and after
}

var _ stack.LinkEndpoint = (*link)(nil)

// build makes gVisor's stack: TCP, IPv4 and IPv6, and nothing else. No ICMP, no neighbours, no routers, no multicast groups. Addresses of the
// loopback network are let in, for the engine has looked at them.
func (s *Stack) build() error {
	s.tcp = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}),
			ipv6.NewProtocolWithOptions(ipv6.Options{AllowExternalLoopbackTraffic: true}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		Clock:              s.clock,
		SecureRNG:          s.cfg.Random,
	})
	s.links = [2]*link{{s: s, nic: 1, proto: header.IPv4ProtocolNumber, head: header.IPv4MinimumSize}, {s: s, nic: 2, proto: header.IPv6ProtocolNumber, head: header.IPv6MinimumSize}}
	var routes []tcpip.Route
	for _, l := range s.links {
		if err := s.tcp.CreateNIC(l.nic, l); err != nil {
			return fmt.Errorf("espnet: link: %s", err)
		}
		everywhere := header.IPv4EmptySubnet
		if l.proto == header.IPv6ProtocolNumber {
			everywhere = header.IPv6EmptySubnet
		}
		routes = append(routes, tcpip.Route{Destination: everywhere, NIC: l.nic})
	}
	s.tcp.SetRouteTable(routes)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: leastBuffer, Default: s.cfg.Buffer, Max: s.cfg.Buffer}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: leastBuffer, Default: s.cfg.Buffer, Max: s.cfg.Buffer}
	moderate := tcpip.TCPModerateReceiveBufferOption(false)
	for _, o := range []tcpip.SettableTransportProtocolOption{&send, &receive, &moderate} {
		if err := s.tcp.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("espnet: option: %s", err)
		}
	}
	// The forwarder's own bound is never reached: begin has ours.
	s.syns = tcp.NewForwarder(s.tcp, s.cfg.Buffer, math.MaxInt, s.open)
	s.tcp.SetTransportProtocolHandler(tcp.ProtocolNumber, s.unmatched)
	return nil
}

// linkOf is the link for a family.
func (s *Stack) linkOf(a netip.Addr) *link {
	if a.Is4() {
		return s.links[0]
	}
	return s.links[1]
}

// know makes a an address of ours, the first time it is used. All of them are our own agreements'.
func (s *Stack) know(a netip.Addr) {
	s.addressesMu.Lock()
	defer s.addressesMu.Unlock()
	if s.addresses[a] {
		return
	}
	s.addresses[a] = true
	l := s.linkOf(a)
	// It fails only for an address that is there already.
	_ = s.tcp.AddProtocolAddress(l.nic, tcpip.ProtocolAddress{Protocol: l.proto, AddressWithPrefix: addressOf(a).WithPrefix()}, stack.AddressProperties{})
}

// deliver gives gVisor a segment behind a header as the peer's IP would have made it.
func (l *link) deliver(t tuple, segment []byte) {
	l.mu.RLock()
	up := l.up
	l.mu.RUnlock()
	if up == nil {
		l.s.n.DropClosed.Add(1)
		return
	}
	v := buffer.NewViewSize(l.head + len(segment))
	p := v.AsSlice()
	src, dst := addressOf(t.peer.Addr()), addressOf(t.local.Addr())
	const ttl = 64
	if l.proto == header.IPv4ProtocolNumber {
		header.IPv4(p).Encode(&header.IPv4Fields{TotalLength: uint16(len(p)), TTL: ttl, Protocol: uint8(tcp.ProtocolNumber), SrcAddr: src, DstAddr: dst})
	} else {
		header.IPv6(p).Encode(&header.IPv6Fields{PayloadLength: uint16(len(segment)), TransportProtocol: tcp.ProtocolNumber, HopLimit: ttl, SrcAddr: src, DstAddr: dst})
	}
	copy(p[l.head:], segment)
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	up.DeliverNetworkPacket(l.proto, pkt)
	pkt.DecRef()
}

// WritePackets implements stack.LinkWriter: it takes what gVisor made. An error is for gVisor's counters, TCP sends again by itself.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for n, pkt := range pkts.AsSlice() {
		if !l.write(pkt) {
			return n, &tcpip.ErrNoBufferSpace{}
		}
	}
	return pkts.Len(), nil
}

// write takes the IP header off and sends the segment; false if it was not sent.
func (l *link) write(pkt *stack.PacketBuffer) bool {
	ip := header.IPv4(pkt.NetworkHeader().Slice())
	var src, dst netip.Addr
	switch {
	case len(ip) != l.head || len(pkt.TransportHeader().Slice()) < tcpHeader || pkt.TransportProtocolNumber != tcp.ProtocolNumber:
		l.s.n.DropProtocol.Add(1)
		return false
	case l.proto == header.IPv4ProtocolNumber:
		src, dst = netip.AddrFrom4(ip.SourceAddress().As4()), netip.AddrFrom4(ip.DestinationAddress().As4())
	default:
		ip := header.IPv6(ip)
		src, dst = netip.AddrFrom16(ip.SourceAddress().As16()), netip.AddrFrom16(ip.DestinationAddress().As16())
	}
	ports := header.TCP(pkt.TransportHeader().Slice())
	t := tuple{netip.AddrPortFrom(src, ports.SourcePort()), netip.AddrPortFrom(dst, ports.DestinationPort())}
	v := pkt.ToView()
	defer v.Release()
	return l.s.send(t, v.AsSlice()[l.head:])
}

// addressOf is an address as gVisor has it.
func addressOf(a netip.Addr) tcpip.Address {
	if a.Is4() {
		return tcpip.AddrFrom4(a.As4())
	}
	return tcpip.AddrFrom16(a.As16())
}

// tupleOf is gVisor's name of a connection as ours.
func tupleOf(id stack.TransportEndpointID) tuple {
	local, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	peer, _ := netip.AddrFromSlice(id.RemoteAddress.AsSlice())
	return tuple{netip.AddrPortFrom(local, id.LocalPort), netip.AddrPortFrom(peer, id.RemotePort)}
}

// find returns gVisor's end of a connection whose handshake is on its way; nil if there is none.
func (s *Stack) find(t tuple) stack.TransportEndpoint {
	l := s.linkOf(t.local.Addr())
	id := stack.TransportEndpointID{LocalPort: t.local.Port(), LocalAddress: addressOf(t.local.Addr()),
		RemotePort: t.peer.Port(), RemoteAddress: addressOf(t.peer.Addr())}
	return s.tcp.FindTransportEndpoint(l.proto, tcp.ProtocolNumber, id, l.nic)
}

// connect makes gVisor's end of a connection to t.peer and sends the SYN. One of our ports may be at the end of many connections, each of
// another peer.
func (s *Stack) connect(t tuple, events *waiter.Queue) (tcpip.Endpoint, error) {
	l := s.linkOf(t.local.Addr())
	ep, err := s.tcp.NewEndpoint(tcp.ProtocolNumber, l.proto, events)
	if err != nil {
		return nil, errorOf(err)
	}
	ep.SocketOptions().SetReusePort(true)
	if err = ep.Bind(tcpip.FullAddress{NIC: l.nic, Addr: addressOf(t.local.Addr()), Port: t.local.Port()}); err == nil {
		err = ep.Connect(tcpip.FullAddress{NIC: l.nic, Addr: addressOf(t.peer.Addr()), Port: t.peer.Port()})
	}
	if _, started := err.(*tcpip.ErrConnectStarted); !started {
		ep.Close()
		return nil, errorOf(err)
	}
	return ep, nil
}

// MTU implements stack.LinkEndpoint.
func (l *link) MTU() uint32 { return uint32(l.head + tcpHeader + MSS) }

// Capabilities implements stack.LinkEndpoint: the engine has looked at the checksums of what comes in; those of what goes out are gVisor's.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// Attach implements stack.LinkEndpoint.
func (l *link) Attach(up stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = up
}

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.up != nil
}

// The rest of stack.LinkEndpoint is for what this link has not: headers and addresses of its own, another MTU, goroutines.

// SetMTU implements stack.LinkEndpoint.
func (l *link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return 0 }

// LinkAddress implements stack.LinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress implements stack.LinkEndpoint.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// ARPHardwareType implements stack.LinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader implements stack.LinkEndpoint.
func (l *link) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.LinkEndpoint.
func (l *link) ParseHeader(*stack.PacketBuffer) bool { return true }

// Wait implements stack.LinkEndpoint.
func (l *link) Wait() {}

// Close implements stack.LinkEndpoint.
func (l *link) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}
