package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/dns"
)

// finder finds P-CSCFs by name. What a domain has (RFC 3263 4) the name servers of this machine say; addresses its resolver, which knows its hosts as well.
type finder struct {
	records *dns.Client
	hosts   addresser
}

// addresser is what a finder needs of a net.Resolver.
type addresser interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// finder is the one of this machine, unless a test has another.
func (a *app) finder() *finder {
	if a.find != nil {
		return a.find
	}
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		text = nil // then there is nobody to ask, which is told
	}
	return &finder{records: nameServers(text), hosts: net.DefaultResolver}
}

// nameServers asks those that a resolv.conf names.
func nameServers(resolvConf []byte) *dns.Client {
	const patience = 2 * time.Second
	var d net.Dialer
	return &dns.Client{Servers: dns.Servers(resolvConf), Dial: d.DialContext, Deadline: func() time.Time { return time.Now().Add(patience) }, Pick: rand.IntN}
}

// find finds the P-CSCFs (TS 24.229 9.2.1): those that were named, or those of the home domain. Where a name was followed it is followed again when none of
// them is there any more: what the DNS says may have changed.
func (l *line) find(a *app, c *ue.Config, host, port, domain string) error {
	f := a.finder()
	look := func(ctx context.Context) ([]netip.AddrPort, error) {
		return l.proxies(ctx, f, c.Transport, host, port, domain)
	}
	all, err := look(a.ctx)
	if err != nil {
		return err
	}
	c.Proxy, c.Proxies = all[0], all[1:]
	if len(l.Proxy) == 0 || slices.ContainsFunc(l.Proxy, func(p string) bool { return !isAddress(p) }) {
		c.Discover = look
	}
	return a.ctx.Err()
}

// isAddress reports whether something is an address, with a port or without.
func isAddress(s string) bool {
	_, err1 := netip.ParseAddrPort(s)
	_, err2 := netip.ParseAddr(strings.Trim(s, "[]"))
	return err1 == nil || err2 == nil
}

// proxies are the addresses of the P-CSCFs, in the order in which they are to be tried; at least one. Over datagrams all are of the family of the first: the
// client sends from one address.
func (l *line) proxies(ctx context.Context, f *finder, t ue.Transport, host, port, domain string) (all []netip.AddrPort, err error) {
	add := func(found []netip.AddrPort, failed error) {
		for _, at := range found {
			if !slices.Contains(all, at) && (t == ue.TLS || t == ue.TCP || len(all) == 0 || at.Addr().Is4() == all[0].Addr().Is4()) {
				all = append(all, at)
			}
		}
		err = errors.Join(err, failed)
	}
	for _, name := range l.Proxy {
		add(f.named(ctx, name, t, port))
	}
	if len(l.Proxy) == 0 {
		found, known, failed := f.domain(ctx, domain, t)
		add(found, failed)
		if !known {
			add(f.addresses(ctx, host, port))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the P-CSCF is not found: %w; --proxy HOST:PORT names it", err)
	}
	return all, nil
}

// named finds a P-CSCF that was named: by its address; by a name with a port, which has addresses; or by a name alone, which may be a domain (RFC 3263 4.2).
func (f *finder) named(ctx context.Context, name string, t ue.Transport, port string) ([]netip.AddrPort, error) {
	if host, service, err := net.SplitHostPort(name); err == nil {
		return f.addresses(ctx, host, service)
	}
	name = strings.Trim(name, "[]")
	if !isAddress(name) {
		if found, known, err := f.domain(ctx, name, t); known {
			return found, err
		}
	}
	return f.addresses(ctx, name, port)
}

// domain finds the servers of a domain by its NAPTR and SRV records, and reports whether it has any: if not, a name of itself may lead there. A server without
// an address is passed over.
func (f *finder) domain(ctx context.Context, domain string, t ue.Transport) (all []netip.AddrPort, known bool, err error) {
	transport := dns.UDP
	switch t {
	case ue.TLS:
		transport = dns.TLS
	case ue.TCP:
		transport = dns.TCP
	}
	targets, err := f.records.Locate(ctx, domain, transport)
	for _, target := range targets {
		found, failed := f.addresses(ctx, target.Host, strconv.Itoa(int(target.Port)))
		all, err = append(all, found...), errors.Join(err, failed)
	}
	return all, len(targets) > 0 || errors.Is(err, dns.ErrUnavailable), err
}

// addresses are those of a host, at a port.
func (f *finder) addresses(ctx context.Context, host, service string) (all []netip.AddrPort, err error) {
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	found := make([]netip.Addr, 1)
	if found[0], err = netip.ParseAddr(host); err != nil {
		found, err = f.hosts.LookupNetIP(ctx, "ip", host)
	}
	for _, a := range found {
		all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(port)))
	}
	return all, err
}
