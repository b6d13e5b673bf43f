package lab

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"imsafe/iface/imsservice"
	"imsafe/imsbox/filter"
	"imsafe/imsbox/hss"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
)

// Platform is a scripted service platform, approved and connected to a node. It proxies without state and believes everybody: what it may
// do is for the node to judge.
type Platform struct {
	Service *isc.Service
	Address netip.AddrPort
	// Handle sees each request that is no ACK. Without it every request is passed on.
	Handle func(m *sip.Message)
	// Edit changes each request that is passed on.
	Edit func(m *sip.Message)
	// Answering changes each response that is passed on.
	Answering func(m *sip.Message)
	// Dead platforms hear nothing.
	Dead bool
	// Via is added to the Via of its requests.
	Via string
	// Seen are the requests that came, Heard the responses, oldest first.
	Seen, Heard []*sip.Message

	node   *Node
	pool   *sip.Pool
	branch int
}

// AddPlatform approves a service by its manifest, for all users, and connects it. All that it asks for is granted.
func (n *Node) AddPlatform(manifest string) (*Platform, error) {
	m, err := isc.Parse([]byte(manifest))
	if err != nil {
		return nil, err
	}
	set := len(n.platforms) + 1
	p := &Platform{node: n, pool: sip.NewPool(sip.Limits{}), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(n.number), byte(set)}), 5061),
		Service: &isc.Service{Manifest: m, Granted: m.Asked, AllUsers: true, Set: set}}
	n.platforms = append(n.platforms, p)
	n.w.Plug(p.Address, p)
	n.connect(p)
	n.share()
	ctx := context.Background()
	if err := n.Provision(func(ctx context.Context) error {
		return n.HSS().Share(ctx, hss.SharedSet{Number: set, All: true, Unregistered: true})
	}); err != nil {
		return nil, err
	}
	for i, psi := range m.PSI {
		name := fmt.Sprintf("psi-%d-%d", set, i)
		profile := service()
		profile.Criteria = m.PSICriteria()
		if err := n.HSS().PutProfile(ctx, name, profile); err != nil {
			return nil, err
		}
		if err := n.HSS().Add(ctx, &hss.Subscriber{Card: hss.Card{IMPI: name + "@" + Domain}, Service: &hss.Service{},
			Public: []hss.Public{{IMPU: psi, Profile: name}}}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// connect opens the connection of a platform, again after a start of the node.
func (n *Node) connect(p *Platform) {
	sh := n.Core.Shards[0]
	flow := siptransport.Flow{Via: &lineSender{sender{n: n, from: n.Address}}, Peer: p.Address}
	p.line(flow)
	sh.Exec(shard.EventFunc(func(sh *shard.Shard) { n.Core.Services.Port(sh).Attach(flow, p.Service) }))
}

// Disconnect closes the connection of a platform at the node, as where its process has ended.
func (p *Platform) Disconnect() {
	n := p.node
	flow, open := n.lines[p.Address]
	if !open {
		return
	}
	delete(n.lines, p.Address)
	n.Core.Shards[0].Exec(shard.EventFunc(func(sh *shard.Shard) { n.Core.Services.Port(sh).Closed(flow, siptransport.ErrClosed) }))
}

// Connect opens it again.
func (p *Platform) Connect() { p.node.connect(p) }

// share tells the S-CSCF the criteria of the platforms.
func (n *Node) share() {
	sets := filter.SharedSets{}
	for _, p := range n.platforms {
		sets[p.Service.Set] = p.Service.Manifest.Criteria()
	}
	n.Core.SCSCF.Share(sets)
}

// lineSender is the node's end of a connection of a platform.
type lineSender struct{ sender }

func (*lineSender) Reliable() bool { return true }
func (*lineSender) Proto() string  { return "TLS" }

// directory is who is approved: imsservice.Services of the lab.
type directory struct{ n *Node }

func (d directory) ByPeer(*x509.Certificate) (*isc.Service, imsservice.Standing) {
	return nil, imsservice.StandingStranger
}

func (d directory) ByServer(host []byte) *isc.Service {
	for _, p := range d.n.platforms {
		if strings.EqualFold(p.Service.Manifest.Host(), string(host)) {
			return p.Service
		}
	}
	return nil
}

func (directory) Watch(func(string)) {}

// line notes by which flow the node knows the platform.
func (p *Platform) line(f siptransport.Flow) { p.node.lines[p.Address] = f }

// Receive implements Endpoint.
func (p *Platform) Receive(_ netip.AddrPort, data []byte) {
	if p.Dead {
		return
	}
	m, err := p.pool.Parse(data)
	if err != nil {
		panic(err)
	}
	if !m.IsRequest() {
		p.Heard = append(p.Heard, m.Clone())
		if m.Count(sip.HdrVia) > 1 { // of a request that was passed on
			m.RemoveFirst(sip.HdrVia)
			if p.Answering != nil {
				p.Answering(m)
			}
			p.Send(m)
		}
		return
	}
	if p.ends(m) {
		m.Release()
		return
	}
	p.Seen = append(p.Seen, m.Clone())
	if p.Handle == nil || m.Method() == sip.ACK {
		p.Pass(m)
		return
	}
	p.Handle(m)
}

// ends reports whether an ACK is that of a failed INVITE: it belongs to that transaction and goes no further (RFC 3261 17.1.1.3).
func (p *Platform) ends(ack *sip.Message) bool {
	via, err := ack.TopVia()
	return ack.Method() == sip.ACK && err == nil && slices.ContainsFunc(p.Seen, func(m *sip.Message) bool {
		seen, err := m.TopVia()
		return err == nil && string(seen.Branch) == string(via.Branch)
	})
}

// Pass gives a request back, as a proxy that stays in the path.
func (p *Platform) Pass(m *sip.Message) {
	m.RemoveFirst(sip.HdrRoute)
	if len(m.ToTag()) == 0 && m.Method().MakesDialog() {
		m.PrependString(sip.HdrRecordRoute, "<sip:"+p.Service.Manifest.Host()+";lr>")
	}
	if n, present := m.MaxForwards(); present {
		m.SetUint(sip.HdrMaxForwards, uint64(n-1))
	}
	if p.Edit != nil {
		p.Edit(m)
	}
	p.Begin(m)
}

// Begin sends a request with a Via of the platform's.
func (p *Platform) Begin(m *sip.Message) {
	p.branch++
	via := m.Get(sip.HdrVia)
	branch := "z9hG4bKp" + strconv.Itoa(p.branch)
	if m.Method() == sip.CANCEL && via != nil { // goes the way of what it cancels: a proxy without state derives its branch
		branch = "z9hG4bKp" + strconv.Itoa(p.branch-1)
	}
	m.PrependString(sip.HdrVia, "SIP/2.0/TLS "+p.Service.Manifest.Host()+";branch="+branch+p.Via)
	p.Send(m)
}

// Answer answers a request.
func (p *Platform) Answer(m *sip.Message, code int, edits ...func(*sip.Message)) {
	r := p.pool.NewResponse(m, code, "")
	if code > 100 && len(r.ToTag()) == 0 {
		r.SetToTag("platform-" + strconv.Itoa(p.Service.Set))
	}
	r.SetString(sip.HdrContact, "<sip:"+p.Service.Manifest.Host()+">")
	if code > 100 && code < 300 && m.Method().MakesDialog() { // RFC 3261 12.1.1
		for v := range m.Values(sip.HdrRecordRoute) {
			r.Append(sip.HdrRecordRoute, v)
		}
	}
	for _, edit := range edits {
		edit(r)
	}
	p.Send(r)
}

// NewRequest makes a request of the platform's own.
func (p *Platform) NewRequest(method sip.Method, uri, from string) *sip.Message {
	p.branch++
	m := p.pool.NewRequest(method, uri)
	m.AppendString(sip.HdrMaxForwards, "70")
	m.AppendString(sip.HdrFrom, "<"+from+">;tag=p"+strconv.Itoa(p.branch))
	m.AppendString(sip.HdrTo, "<"+uri+">")
	m.AppendString(sip.HdrCallID, fmt.Sprintf("platform-%d-%d", p.Service.Set, p.branch))
	m.AppendString(sip.HdrCSeq, "1 "+method.String())
	m.AppendString(sip.HdrContact, "<sip:"+p.Service.Manifest.Host()+">")
	return m
}

// Send sends a message to the node.
func (p *Platform) Send(m *sip.Message) {
	data := m.AppendTo(nil)
	m.Release()
	p.node.w.Send(p.Address, p.node.Address, data)
}
