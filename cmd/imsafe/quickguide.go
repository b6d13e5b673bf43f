package main

import (
	"fmt"
	"net/netip"
	"strings"

	"imsafe/config"
)

// quickGuide is what the rest of the network needs, as text to copy.
type quickGuide struct {
	Domain     string            `json:"domain"`
	Config     string            `json:"config"`
	Zone       string            `json:"dns_zone"`
	PacketCore map[string]string `json:"packet_core"`
	Telephone  []string          `json:"telephone"`
	Unit       string            `json:"systemd_unit"`
	Next       []string          `json:"next"`
	Notes      []string          `json:"notes,omitempty"`
}

func guide(v *quickstartCmd, c *config.Config) *quickGuide {
	g := &quickGuide{Domain: c.HomeDomain(), Config: v.path(configName), Zone: zone(v, c.HomeDomain()), Unit: unit(v, c), Next: next(v),
		Notes: remarks(v, c)}
	if v.Volte {
		g.PacketCore, g.Telephone = packetCore(v), telephone(v, c.HomeDomain())
	}
	return g
}

// say prints it.
func (g *quickGuide) say(a *app) {
	section := func(title, text string) {
		a.say("\n--- %s\n\n%s", title, strings.TrimRight(text, "\n"))
	}
	a.say("\nThe home domain is %s.", g.Domain)
	for _, n := range g.Notes {
		a.say("%s", n)
	}
	if len(g.PacketCore) > 0 {
		section("Packet core: the APN (DNN) ims, with the default bearer of QCI (5QI) 5, and the P-CSCF in PCO", g.PacketCore["open5gs"])
		a.say("\n%s", g.PacketCore["free5gc"])
		a.say("\n%s", g.PacketCore["srsran"])
		a.say("\n%s", g.PacketCore["route"])
		section("Telephone", "- "+strings.Join(g.Telephone, "\n- "))
	}
	section("DNS, on the resolver that clients use (telephones that have the P-CSCF from the packet core need none)", g.Zone)
	section("systemd: /etc/systemd/system/imsafe.service", g.Unit)
	section("Next", strings.Join(g.Next, "\n"))
}

// zone is the home domain for a name server (RFC 3263 4.1, RFC 3403 4.1).
func zone(v *quickstartCmd, domain string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s.\n$TTL 300\n@          IN SOA   ns hostmaster 1 3600 600 86400 300\n@          IN NS    ns\n", domain)
	if v.Volte {
		b.WriteString("@          IN NAPTR 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp\n@          IN NAPTR 20 10 \"s\" \"SIP+D2T\" \"\" _sip._tcp\n")
		b.WriteString("_sip._udp  IN SRV   0 0 5060 pcscf\n_sip._tcp  IN SRV   0 0 5060 pcscf\n")
	}
	if v.TLS {
		b.WriteString("@          IN NAPTR 30 10 \"s\" \"SIPS+D2T\" \"\" _sips._tcp\n_sips._tcp IN SRV   0 0 5061 pcscf\n")
	}
	for _, at := range v.Listen {
		fmt.Fprintf(&b, "pcscf      IN %-5s %v\n", recordOf(at), at)
	}
	fmt.Fprintf(&b, "cs         IN %-5s %v\n", recordOf(v.Listen[0]), v.Listen[0])
	b.WriteString("ns         IN A     192.0.2.53 ; the name server itself: put its address here\n")
	return b.String()
}

func recordOf(a netip.Addr) string {
	if a.Is6() {
		return "AAAA"
	}
	return "A"
}

// packetCore are lines for the packet cores that private networks use.
func packetCore(v *quickstartCmd) map[string]string {
	lines := map[string]string{}
	var b strings.Builder
	b.WriteString("Open5GS, smf.yaml (its SMF is the PGW-C of 4G too):\n\n  smf:\n    mtu: 1400\n    p-cscf:\n")
	for _, at := range v.Listen {
		fmt.Fprintf(&b, "      - %v\n", at)
	}
	b.WriteString("\nand each subscriber there gets a second APN: ims, type IPv4v6, QCI 5, ARP priority 1.\n")
	lines["open5gs"] = b.String()
	lines["free5gc"] = "free5GC: it tells telephones an IPv4 address of the P-CSCF alone, so this node needs one there."
	for _, at := range v.Listen {
		if at.Is4() {
			lines["free5gc"] = fmt.Sprintf("free5GC, smfcfg.yaml, in snssaiInfos:\n\n      dnnInfos:\n        - dnn: ims\n          dns:\n            ipv4: 192.0.2.53 # your resolver\n          pcscf:\n            ipv4: %v\n\nand each subscriber there gets the DNN ims with 5QI 5.", at)
			break
		}
	}
	lines["srsran"] = "srsRAN: srsEPC of srsRAN 4G has no setting for the P-CSCF and one APN, so telephones cannot find the IMS by it. Use its radio\n(srsENB, or the gNB of srsRAN Project) with Open5GS; subscribers come over with `imsafe user import --format srsran`."
	lines["route"] = "No NAT between telephones and this machine: exempt this address from masquerading on the packet gateway, and give this machine a\nroute back to their subnet. IP protocol 50 (ESP), UDP 4500, fragments, and the ports for media must come through."
	return lines
}

// telephone is what a telephone needs to try at all.
func telephone(v *quickstartCmd, domain string) []string {
	return []string{
		"a SIM card of network " + v.MCC + "/" + v.MNC + " whose K and OPc (or OP) you know; without ISIM it derives IMSI@" + domain + " itself",
		"an APN of the name ims and the type ims; on many telephones it is there already",
		"VoLTE switched on, and a carrier configuration that allows it for this network: Android takes it from its maker for the PLMN (001/01 is often let through), iPhones need a carrier bundle for it",
		"IPsec in its IMS settings, which is the default",
		"if it does not register: imsafe explain registration IMSI@" + domain,
	}
}

// unit is a unit for systemd. The node needs one capability, for ESP, and no other.
func unit(v *quickstartCmd, c *config.Config) string {
	var b strings.Builder
	b.WriteString("[Unit]\nDescription=imsafe, an IP Multimedia Subsystem\nWants=network-online.target\nAfter=network-online.target\n\n[Service]\n")
	fmt.Fprintf(&b, "ExecStart=/usr/local/bin/imsafe run -c %s\n", v.path(configName))
	if v.Systemd {
		b.WriteString("User=imsafe\n")
		fmt.Fprintf(&b, "LoadCredential=%s:%s\n", sealingKey, v.path(sealingKey))
		if v.TLS {
			fmt.Fprintf(&b, "LoadCredential=%s:%s\n", certificateKey, v.path(certificateKey))
		}
	} else {
		b.WriteString("# The owner of the keys and of the data directory; with quickstart --systemd the keys come by LoadCredential\n# and the node has a user of its own.\n")
	}
	capability := ""
	if v.Volte {
		capability = "CAP_NET_RAW"
	}
	fmt.Fprintf(&b, "AmbientCapabilities=%[1]s\nCapabilityBoundingSet=%[1]s\n", capability)
	if c.Node.DataDir == "/var/lib/imsafe" {
		b.WriteString("StateDirectory=imsafe\nStateDirectoryMode=0700\n")
	} else {
		fmt.Fprintf(&b, "ReadWritePaths=%s\n", c.Node.DataDir)
	}
	b.WriteString("NoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=read-only\nPrivateTmp=yes\nLimitCORE=0\nLimitNOFILE=65536\nRestart=on-failure\n# When the node dies, its media anchor goes on with the calls that are up, and is taken over; when it stops, it ends the anchor itself.\nKillMode=process\n\n[Install]\nWantedBy=multi-user.target\n")
	return b.String()
}

// next are the commands that follow.
func next(v *quickstartCmd) []string {
	at := ""
	if v.Dir != defaultDir {
		at = " -c " + v.path(configName)
	}
	if v.Systemd {
		return []string{"useradd --system --no-create-home imsafe", "systemctl enable --now imsafe", "CREDENTIALS_DIRECTORY=" + v.Dir + " imsafe doctor" + at,
			"imsafe ca new /media/stick/root.pem" + at + "   # then take the stick away",
			"imsafe user import subscribers.csv" + at + "   # or --format open5gs|pyhss|srsran"}
	}
	return []string{"imsafe doctor" + at, "imsafe ca new /media/stick/root.pem" + at + "   # then take the stick away",
		"imsafe user import subscribers.csv" + at + "   # or --format open5gs|pyhss|srsran", "imsafe run" + at}
}

// remarks are what the operator should know of what was made.
func remarks(v *quickstartCmd, c *config.Config) (all []string) {
	all = append(all, "Keep a copy of "+v.path(sealingKey)+" away from this host and from the backups: without it no K can be read.")
	for _, at := range v.Listen {
		if at.IsLoopback() {
			all = append(all, at.String()+" is reached from this machine alone: enough for imsafe ue, and no telephone gets there. Give --listen the address that the packet gateway routes to.")
		}
	}
	if v.TLS {
		all = append(all, "Clients over TLS trust "+v.path(authority)+" (imsafe ue --ca). The key of that authority was not kept: when the certificate ends, in 397 days, make a new pair, or use one of your own authority.")
	}
	all = append(all, fmt.Sprintf("Calls pass the media anchor: clients reach UDP ports %d to %d, and TCP port %d for the certificates of the network's signer, which is made by imsafe ca new.",
		firstMediaPort, firstMediaPort+c.CS.Ports-1, httpsPort))
	if len(c.CS.Waivers) > 0 {
		all = append(all, "Telephones with a SIM card may have RTP in clear, over their encrypted radio bearer, until "+c.CS.Waivers[0].Until+": a waiver, logged at each start. Without [[cs.waiver]] only those call that can do SRTP.")
	}
	switch {
	case v.Handset:
		all = append(all, "Telephones may agree on HMAC-SHA-1 with AES-CBC, because you said --handset: a weakening, logged at each start.")
	case v.Volte:
		all = append(all, "Telephones must agree on AES-GCM. One that cannot is refused, and `imsafe explain registration` says so: then profile = \"handset\" in [ci.ipsec], or an exception for that device.")
	}
	return all
}
