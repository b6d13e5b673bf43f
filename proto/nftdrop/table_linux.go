package nftdrop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// places is how many sources a set has room for: some megabytes of the kernel's.
const places = 1 << 16

// table is ours in the kernel.
type table struct {
	mu    sync.Mutex // of conn, which gathers messages until Flush
	conn  *nftables.Conn
	table *nftables.Table
	chain *nftables.Chain
	sets  map[kind]*nftables.Set
	life  time.Duration
}

// kind is what a set has: the sources of one family, for one transport.
type kind struct{ six, stream bool }

func (k kind) name() string {
	return map[bool]string{false: "udp", true: "tcp"}[k.stream] + map[bool]string{false: "4", true: "6"}[k.six]
}

// install makes the table in one transaction: until then the old one holds, if there is one.
func (t *table) install(c Config) (err error) {
	if t.conn, err = nftables.New(nftables.AsLasting()); err != nil {
		return explain(err)
	}
	t.life, t.sets = c.For, map[kind]*nftables.Set{}
	t.table = &nftables.Table{Name: c.Table, Family: nftables.TableFamilyINet}
	t.conn.AddTable(t.table)
	t.conn.DelTable(t.table)
	t.conn.AddTable(t.table)
	t.chain = t.conn.AddChain(&nftables.Chain{Name: "sources", Table: t.table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityRaw}) // before connections are tracked
	for _, k := range []kind{{}, {six: true}, {stream: true}, {six: true, stream: true}} {
		s := &nftables.Set{Table: t.table, Name: k.name(), KeyType: nftables.TypeIPAddr, HasTimeout: true, Timeout: c.For, Size: places}
		if k.six {
			s.KeyType = nftables.TypeIP6Addr
		}
		if err := t.conn.AddSet(s, nil); err != nil {
			return errors.Join(explain(err), t.conn.CloseLasting())
		}
		t.sets[k] = s
	}
	for stream, ports := range map[bool][]netip.AddrPort{false: c.Packets, true: c.Streams} {
		for _, at := range ports {
			t.guard(at, stream)
		}
	}
	if err := t.conn.Flush(); err != nil {
		return errors.Join(explain(err), t.conn.CloseLasting())
	}
	return nil
}

// guard adds the rules of one port.
func (t *table) guard(at netip.AddrPort, stream bool) {
	address := at.Addr().Unmap()
	for _, six := range []bool{false, true} {
		if six == address.Is6() || six != address.Is6() && address == netip.IPv6Unspecified() {
			t.conn.AddRule(&nftables.Rule{Table: t.table, Chain: t.chain, Exprs: t.drops(kind{six, stream}, address, at.Port())})
		}
	}
}

// Where things stand in a header (RFC 791 3.1, RFC 8200 3, RFC 9293 3.1).
const (
	source4, destination4 = 12, 16
	source6, destination6 = 8, 24
	destinationPort       = 2
	flags                 = 13
	syn, ack              = 0x02, 0x10
)

// drops is a rule: of this family and transport, to this address and port, from a source in the set, and of TCP what opens a connection.
func (t *table) drops(k kind, to netip.Addr, port uint16) []expr.Any {
	family, protocol, source, destination, size := byte(unix.NFPROTO_IPV4), byte(unix.IPPROTO_UDP), uint32(source4), uint32(destination4), uint32(4)
	if k.six {
		family, source, destination, size = unix.NFPROTO_IPV6, source6, destination6, 16
	}
	if k.stream {
		protocol = unix.IPPROTO_TCP
	}
	rule := []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equals(family), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals(protocol)}
	if !to.IsUnspecified() {
		rule = append(rule, network(destination, size), equals(to.AsSlice()...))
	}
	rule = append(rule, transport(destinationPort, 2), equals(binary.BigEndian.AppendUint16(nil, port)...))
	if k.stream {
		rule = append(rule, transport(flags, 1), mask(syn|ack), equals(syn))
	}
	rule = append(rule, network(source, size))
	if k.six {
		rule = append(rule, mask(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0)) // a host has a whole /64
	}
	set := t.sets[k]
	return append(rule, &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
}

func network(offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
}

func transport(offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}
}

func equals(value ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value} }

func mask(bits ...byte) expr.Any {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(bits)), Mask: bits, Xor: make([]byte, len(bits))}
}

// add puts sources into their sets, in one transaction.
func (t *table) add(all []source) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sets == nil {
		return os.ErrClosed
	}
	for _, s := range all {
		k := kind{six: s.address.Is6(), stream: s.stream}
		if k.six {
			p, err := s.address.WithZone("").Prefix(64)
			if err != nil {
				return err
			}
			s.address = p.Addr()
		}
		if err := t.conn.SetAddElements(t.sets[k], []nftables.SetElement{{Key: s.address.AsSlice(), Timeout: t.life}}); err != nil {
			return err
		}
	}
	return t.conn.Flush()
}

// Dropped asks the kernel how many packets the rules have dropped so far.
func (t *table) Dropped() (n uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rules, err := t.conn.GetRules(t.table, t.chain)
	if err != nil {
		return 0, explain(err)
	}
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				n += c.Packets
			}
		}
	}
	return n, nil
}

// Close takes the rules out of the kernel. Closing twice, or nil, is no error.
func (r *Rules) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sets == nil {
		return nil
	}
	r.sets = nil
	r.conn.DelTable(r.table.table)
	return errors.Join(explain(r.conn.Flush()), r.conn.CloseLasting())
}

// explain says what helps.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, os.ErrPermission):
		return fmt.Errorf("nftdrop: nf_tables needs CAP_NET_ADMIN: %w", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("nftdrop: this kernel has no nf_tables for inet (module nf_tables): %w", err)
	}
	return fmt.Errorf("nftdrop: nf_tables: %w", err)
}
