package doctor

import (
	"net/netip"
	"slices"
	"strings"

	"imsafe/config"
)

func addressesOf(list []config.Address) (all []netip.AddrPort) {
	for _, a := range list {
		all = append(all, a.AddrPort)
	}
	return all
}

// names looks at what the DNS says, as this machine hears it. None of it need be there: telephones get the address from the packet core.
func (x *examination) names() {
	if !x.Config.HasRole("pcscf") || x.resolver == nil {
		return
	}
	x.homeDomain()
	x.pcscf()
}

// homeDomain follows NAPTR and SRV to addresses (RFC 3263 4.1, 4.2).
func (x *examination) homeDomain() {
	home := x.Config.HomeDomain()
	pointers, err := x.resolver.NamingAuthority(x.ctx, home)
	if err != nil {
		x.unchecked(DNSHome, notNeeded, "the DNS does not answer for %s: %v", home, err)
		return
	}
	services := []string{"_sip._udp." + home, "_sip._tcp." + home, "_sips._tcp." + home}
	for _, p := range pointers {
		name := strings.TrimSuffix(p.Replacement, ".")
		if strings.HasPrefix(p.Service, "SIP") && !slices.Contains(services, name) {
			services = append(services, name)
		}
	}
	found, lost := 0, false
	for _, service := range services {
		records, err := x.resolver.Services(x.ctx, service)
		if err != nil {
			x.unchecked(DNSHome, notNeeded, "the DNS does not answer for %s: %v", service, err)
			return
		}
		pointed := slices.ContainsFunc(pointers, func(p NamingAuthority) bool { return strings.TrimSuffix(p.Replacement, ".") == service })
		if pointed && len(records) == 0 {
			x.breaks(DNSHome, "NAPTR of %s leads to %s, which has no SRV record", home, service)
			lost = true
		}
		for _, r := range records {
			found++
			if all, err := x.resolver.Addresses(x.ctx, r.Target); err == nil && len(all) == 0 {
				x.breaks(DNSHome, "SRV of %s leads to %s, which has no address", service, r.Target)
				lost = true
			}
		}
	}
	switch {
	case lost:
	case found == 0:
		x.hint(DNSHome, "the DNS knows neither NAPTR nor SRV of %s: clients must be told the P-CSCF, by the packet core (PCO) or by hand", home)
	default:
		x.fine(DNSHome, "%d SRV records of %s lead to addresses", found, home)
	}
}

// pcscf compares what its name leads to with where the node listens.
func (x *examination) pcscf() {
	name := "pcscf." + x.Config.HomeDomain()
	all, err := x.resolver.Addresses(x.ctx, name)
	if err != nil {
		x.unchecked(DNSPCSCF, notNeeded, "the DNS does not answer for %s: %v", name, err)
		return
	}
	if len(all) == 0 {
		x.hint(DNSPCSCF, "the DNS does not know %s: clients must be told its address", name)
		return
	}
	listening := x.clientAddresses()
	for _, a := range all {
		if slices.Contains(listening, a) || slices.ContainsFunc(listening, netip.Addr.IsUnspecified) {
			continue
		}
		level := Hint // there may be something in front
		if len(x.Config.CI.IPsec.Listen) > 0 {
			level = Breaks
		}
		x.add(DNSPCSCF, level, "%s leads to %v, where this node does not listen", name, a)
		return
	}
	x.fine(DNSPCSCF, "%s leads to this node", name)
}
