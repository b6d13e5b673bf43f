package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Code names what is looked at. It stays the same from version to version.
type Code string

// The codes of an installation, and those of one subscriber.
const (
	ClockSane     Code = "D-CLOCK"
	ClockJump     Code = "D-CLOCK-JUMP"
	ClockService  Code = "D-CLOCK-NTP"
	Config        Code = "D-CONFIG"
	ConfigFiles   Code = "D-FILES"
	ConfigWeak    Code = "D-WEAK"
	DataDirectory Code = "D-DATA-DIR"
	DataSpace     Code = "D-DISK"
	Store         Code = "D-STORE"
	SealingKey    Code = "D-SEALING-KEY"
	AddressHere   Code = "D-ADDRESS"
	PortFree      Code = "D-PORT"
	MediaPorts    Code = "D-MEDIA-PORTS"
	CertFile      Code = "D-CERT"
	CertExpiry    Code = "D-CERT-EXPIRY"
	CertName      Code = "D-CERT-NAME"
	CertChain     Code = "D-CERT-CHAIN"
	Authority     Code = "D-AUTHORITY"
	Origin        Code = "D-HTTPS-ORIGIN"
	ESPRaw        Code = "D-ESP-RAW"
	ESPLoop       Code = "D-ESP-LOOP"
	ESPNAT        Code = "D-ESP-UDP"
	ESPKernel     Code = "D-ESP-KERNEL"
	KernelDrop    Code = "D-DROP"
	UDPBuffers    Code = "D-UDP-BUFFERS"
	UDPDrops      Code = "D-UDP-DROPS"
	PathMTU       Code = "D-MTU"
	Fragments     Code = "D-FRAGMENTS"
	NATRules      Code = "D-NAT"
	DNSHome       Code = "D-DNS-HOME"
	DNSPCSCF      Code = "D-DNS-PCSCF"
	NodeAnswers   Code = "D-NODE"
	Resyncs       Code = "D-SQN"
	ESPDropped    Code = "D-ESP-DROPPED"
	Refusals      Code = "D-REFUSALS"
	Troubles      Code = "D-TROUBLES"

	UserKnown      Code = "D-USER"
	UserIdentity   Code = "D-USER-IDENTITY"
	UserNumber     Code = "D-USER-TEL"
	UserBarred     Code = "D-USER-BARRED"
	UserScheme     Code = "D-USER-SCHEME"
	UserKeys       Code = "D-USER-KEYS"
	UserAMF        Code = "D-USER-AMF"
	UserSQN        Code = "D-USER-SQN"
	UserRegistered Code = "D-USER-REGISTERED"
	UserAttempts   Code = "D-USER-ATTEMPTS"
)

// Explained is what the table says about a code.
type Explained struct {
	Looks string // what is looked at
	Why   string // why it matters
	Do    string // what to do
	More  string // for the page alone: paragraphs in Markdown, may be empty
}

// explained is the one place where codes are explained: findings and docs/doctor.md come from it.
var explained = map[Code]Explained{
	ClockSane: {"The clock of the day is not before this program was written.",
		"certificates seem not to be valid yet, and what is recorded has wrong times", "set the clock (`timedatectl set-time`), and let a time service hold it",
		"A virtual machine that was suspended, and a board without a battery, begin in the past."},
	ClockJump: {"While the node runs its clock of the day goes as fast as its monotonic one.",
		"times in logs and records do not fit each other; lifetimes of registrations are safe, they run on the monotonic clock", "find out who sets the clock in steps: a time service should slew it", ""},
	ClockService: {"The kernel holds its clock for synchronised.",
		"without a time service the clock drifts: certificates and the records of several machines stop to fit", "run one: systemd-timesyncd, chrony or ntpd; `timedatectl` shows whether it works",
		"Inside a container the kernel's clock is that of the host, which has to do it."},
	Config: {"The configuration can be read, every key of it is known, and the values fit each other.",
		"a node does not start with it", "correct it; `imsafe quickstart` writes a new one, `imsafe config print` an example with comments", ""},
	ConfigFiles: {"The files that the configuration names are there, and those with secrets are for their owner alone.",
		"a node does not start without them, and a key that others can read is no secret", "make what is missing (`imsafe key new` for the sealing key); `chmod 600` what others can read", ""},
	ConfigWeak: {"Settings that are weaker than the default.",
		"each gives up some protection, for everybody whom it concerns", "take it back as soon as no client needs it; `imsafe policy` shows which controls it concerns", ""},
	DataDirectory: {"The directory of the store belongs to whoever runs this, and nobody else may enter it.",
		"a node cannot write into a directory of somebody else, and others could read the subscribers", "run this as the user of the node; `chown` and `chmod 700` the directory", ""},
	DataSpace: {"There is room on the disk of the store.",
		"a full disk ends every registration: what cannot be made durable is not acknowledged", "make room, or move data_dir to a larger disk", ""},
	Store: {"The store opens, and is of the kind that the configuration wants: production, or lab.",
		"a node does not start without it, and a lab must not touch production data", "stop whoever has it; give a lab a data_dir of its own; `imsafe restore` brings back a backup", ""},
	SealingKey: {"Every sealed key opens with the keys of the sealing key file.",
		"a subscriber whose K does not open cannot register", "put the file back that was there before; a backup needs the key of its time (`imsafe key rotate` tells more)", ""},
	AddressHere: {"Every address of the configuration belongs to this machine.",
		"the node does not start if it cannot have its address", "give the machine the address (`ip addr`), or correct the configuration; an address that comes late needs the unit to wait for network-online.target", ""},
	PortFree: {"The ports are free, or held by the node that runs.",
		"the node does not start while another program has its port, and one that does not listen serves nobody", "`ss -tulpn` shows who has it: stop that program, or take another port",
		"A distribution's Kamailio, Asterisk or strongSwan (UDP 4500) likes to start by itself."},
	MediaPorts: {"The ports for media are free, or held by the calls of the node that runs, or of one that died and whose media anchor goes on.",
		"a call needs eight of them; where none is left it is refused, or in an emergency goes without the anchor", "`ss -ulpn` shows who has them: stop that program, or begin elsewhere with listen in [cs]",
		"The firewall in front of this machine must let the whole range through, from and to clients."},
	CertFile: {"The certificate of the P-CSCF can be read, and its key belongs to it.",
		"the node does not start, or no client over TLS gets through", "put the certificate and its own key into the files, both in PEM, the server's certificate first", ""},
	CertExpiry: {"The certificate is valid now, and still for a while.",
		"every client over TLS turns away from a certificate that is not valid", "renew it, then restart the node", ""},
	CertName: {"The certificate has the name by which clients know the P-CSCF.",
		"a client compares the name, and turns away if it is another", "let pcscf. and the home domain be among its DNS names (RFC 5922 7.1)", ""},
	CertChain: {"Each certificate of the file is signed by the one behind it.",
		"a client cannot get from the certificate to an authority that it trusts", "put the intermediates behind the server's certificate, each behind the one it signed; the root need not be there", ""},
	Authority: {"Where [https], [is] or [is.enrol] listens, the network has an authority, whose root and intermediate are valid now and still for a while.",
		"their certificates come from it: without a valid one no service platform connects, no client gets a token, and nobody can check what the network signs",
		"there is none yet: `imsafe ca new FILE`, and take the file away; the intermediate ends: `imsafe ca request` here, `imsafe ca sign` where the root is, `imsafe ca install` here",
		"`imsafe ca show` says how long each is valid. [enrolment.md](enrolment.md) has the three commands of a renewal; platforms notice nothing of it."},
	Origin: {"Nodes that share a store are reached by one https origin, where clients fetch.",
		"the origin stands in what each node signs, and in the codes that it gives to clients: at a node with another one they are refused, and clients do not find whom the network vouches for",
		"let `[https] origin` be the same in the configuration of each node, or the port of `[https] listen` if no origin is given, and start the node anew",
		"A node writes its origin into the store when it starts; compared are those that `[[mw.node]]` names. [together.md](together.md) says what else nodes share."},
	ESPRaw: {"The node has a raw socket for ESP at each address of [ci.ipsec], or may open one.",
		"a telephone without a NAT in between sends ESP on IP (protocol 50); without the socket nobody hears it, and it ends after the 401 with silence",
		"give the node CAP_NET_RAW and no more: AmbientCapabilities=CAP_NET_RAW in its systemd unit, or `setcap cap_net_raw+ep` on the program; then esp = \"on\" says at each start if it is missing",
		"No kernel IPsec, no root and no privileged container are needed. If all clients are behind a NAT, or do ESP in UDP by themselves, `esp = \"off\"` is right, and this look is left out."},
	ESPLoop: {"A packet of ESP that this machine sends to itself arrives.",
		"a packet filter that drops protocol 50 here drops that of telephones too", "let it through: `nft add rule inet filter input meta l4proto esp accept`, or the like of your packet filter",
		"The look shows this machine alone. On the way from the packet gateway, ask with `tcpdump -ni any proto 50` on both sides while a telephone registers."},
	ESPNAT: {"Somebody listens on the port for ESP in UDP.",
		"telephones behind a NAT have no other way", "let nat_port in [ci.ipsec] be 4500 and free; an IKE daemon that has the port must leave this address alone", ""},
	ESPKernel: {"Where backend in [ci.ipsec] is kernel or auto, the kernel carries ESP with every pair of algorithms that is configured.",
		"with kernel the node does not start without it; with auto it does ESP itself", "load what is missing (`modprobe esp4 esp6 xfrm_user`, and the ciphers) and give the node CAP_NET_ADMIN, or write backend = \"user\"",
		"`ip xfrm state` shows the associations of clients that the kernel carries."},
	KernelDrop: {"Where [ci.drop] is enabled, the kernel takes its rules.",
		"the node does not start without it", "load nf_tables and give the node CAP_NET_ADMIN, or take enabled out", "`nft list table inet imsafe-1` shows who is dropped (1 is the number of the node)."},
	UDPBuffers: {"The kernel gives UDP sockets the buffers that the node asks for.",
		"a burst, as after a power cut when all telephones come back, is dropped instead of queued, and comes again as retransmissions", "`sysctl -w net.core.rmem_max=%d net.core.wmem_max=%d`, and the same in /etc/sysctl.d", ""},
	UDPDrops: {"The kernel has had room for each datagram that came to the sockets of the node.",
		"what was dropped comes again as a retransmission, half a second later, or is missing in a voice", "larger buffers (D-UDP-BUFFERS), if it came in a burst; if it goes on, more processors, or less of what `imsafe policy` refuses",
		"The last column of /proc/net/udp counts them for each socket, since it was opened."},
	PathMTU: {"The interface of each address takes packets of 1,500 octets.",
		"a first REGISTER of a telephone has up to 1,800 octets, an INVITE 3,000: with a small MTU everything is fragments, and ESP adds some 40 octets", "set the MTU of the interface to 1500 or more; give telephones a smaller one in the packet core (Open5GS: mtu: 1400), so that the tunnel of the radio network has room",
		"From a host behind the packet gateway, `ping -M do -s 1372 ADDRESS` shows whether 1,400 octets come through whole, and `ping -s 3000 ADDRESS` whether fragments do."},
	Fragments: {"A datagram of 3,000 octets that comes in fragments is put together.",
		"INVITEs over UDP are larger than a packet; a filter that drops fragments drops the call and nothing else", "let the packet filter reassemble or pass fragments; on a cloud network, ask the provider, or let clients use TCP", ""},
	NATRules: {"This machine has no rule that rewrites the source of packets that go to clients or come from them.",
		"IPsec is bound to addresses: a rewritten source breaks ESP on IP, and the telephone has to do ESP in UDP, which not all can", "exempt the subnet of the telephones from masquerading towards this node, here and on the packet gateway",
		"On the packet gateway: `nft list ruleset | grep -i -e masquerade -e snat`, `iptables-save -t nat`. Open5GS's guide masquerades everything that leaves its tunnel device: add `! -d ADDRESS` there, and a route back to the subnet of the telephones here. " +
			"Whether there is a NAT is seen at each REGISTER: `imsafe explain registration` says so."},
	DNSHome: {"NAPTR and SRV of the home domain lead to addresses, if they are there at all (RFC 3263 4.1).",
		"a client that is not told the P-CSCF by the packet core asks the DNS for it; a record that leads nowhere costs it a timeout at each start", "add the records that `imsafe quickstart` prints, or take the broken ones away", ""},
	DNSPCSCF: {"The name of the P-CSCF leads to an address that this node listens on.",
		"clients that are given the name, by an ISIM or by hand, go where it leads; with IPsec it must be the very address", "let pcscf. and the home domain have the address of [ci.ipsec] or [ci.tls]",
		"Telephones that get the address from the packet core (P-CSCF in PCO) need no DNS. 3gppnetwork.org is not on the Internet: the resolver that the packet core gives to telephones has to have the zone."},
	NodeAnswers: {"A node runs with this configuration and answers.",
		"what only a running node knows cannot be said without it", "`imsafe run`, or `systemctl start imsafe`", ""},
	Resyncs: {"Cards accept the sequence numbers of the HSS, and their tokens for resynchronisation are genuine.",
		"each resynchronisation costs a telephone one more round; a forged token (AUTS) means that K or OPc differ, or that somebody tries", "`imsafe doctor user` for those concerned; if another HSS makes vectors for the same cards, end that", ""},
	ESPDropped: {"Packets of ESP that were dropped, by reason.",
		"bad-icv: keys differ, or somebody forges; unknown-spi: a telephone uses associations that are over", "`imsafe explain registration` for those concerned", ""},
	Refusals: {"What the controls have refused since the node started.",
		"it is attacks, mistakes of clients, or clients that can less than the policy asks", "`imsafe policy` explains each control; `imsafe explain registration IDENTITY` tells about one client", ""},
	Troubles: {"The node has met no defect, its store kept up, and no call record is lost.",
		"each is something that should not happen", "the log of the node says what; report a defect with it", ""},

	UserKnown: {"The subscriber is provisioned.",
		"nobody else is let in", "`imsafe user add` or `imsafe user import`; `imsafe user list` shows who is there", ""},
	UserIdentity: {"The identities are in the form in which they are looked up, and a card without ISIM finds those that it derives from its IMSI.",
		"an identity with a dot or a blank too much is another identity: the REGISTER is refused with 403 or 404, or calls miss", "correct the card or the subscriber; for a card without ISIM the private identity is IMSI@home domain, and sip:IMSI@home domain is among the public ones (TS 23.003 13.3, 13.4B)", ""},
	UserNumber: {"The subscriber has a number (tel URI).",
		"SUBSCRIBE and SMS of many telephones, and calls from outside, use the number", "add tel:+number to its public identities", ""},
	UserBarred: {"Which of its identities may be used.",
		"a barred identity registers others and can do nothing else (TS 29.228 6.1.1.1)", "nothing, if it is the one that a card derives from its IMSI; else provision it without barred", ""},
	UserScheme: {"An access is open over which the subscriber's scheme can be used.",
		"the scheme is the subscriber's and no client picks another, so it is refused everywhere", "AKAv1-MD5 needs [ci.ipsec], AKAv2 [ci.tls], SHA-256 [ci.digest], MD5 [ci.digest_md5]: open that, or provision the scheme that the client can",
		"A telephone with a SIM does AKAv1-MD5 inside IPsec and nothing else. AKAv2 is for clients over TLS that reach the card, such as `imsafe ue`."},
	UserKeys: {"The keys that are given are those that are sealed.",
		"with other keys the card refuses the network, or the network the card, and both look like silence", "provision the subscriber anew with the keys of the card's data sheet: K, and OPc, or OP as OP (`--op-file`)",
		"The verdict shows no key. `imsafe doctor user NAME --k-file FILE --opc-file FILE` compares, and finds OP given as OPc in both directions. Which of several data sheets is right, the card alone knows: a known answer (`check` in JSON) proves it."},
	UserAMF: {"The AMF is one that cards expect in the IMS.",
		"its separation bit is 1 in vectors for EPS and 5G alone (TS 33.102 Annex H); other bits are the operator's, and a card that is programmed to read them may refuse", "0000, unless the card's data sheet says otherwise", ""},
	UserSQN: {"How far the sequence numbers are, and whether the card asked for resynchronisation lately.",
		"once is normal after a move from another HSS; each time means that two make vectors for one card, or that the numbers went back", "one HSS for the IMS alone; `seq` at provisioning begins above what was used", ""},
	UserRegistered: {"Whether the subscriber is registered now.",
		"", "", ""},
	UserAttempts: {"How its last registrations went, in short.",
		"what the node saw says where it ends", "`imsafe explain registration` tells all of it", ""},
}

// Codes returns all codes, sorted.
func Codes() []Code {
	var all []Code
	for c := range explained {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

// Explain returns what the table says about a code; false for one that is not in it.
func Explain(c Code) (Explained, bool) {
	e, known := explained[c]
	e.Do = strings.ReplaceAll(e.Do, "%d", fmt.Sprint(wantedBuffer))
	return e, known
}

// Page is where in the tree a code is explained.
func Page(c Code) string { return "docs/doctor.md#" + strings.ToLower(string(c)) }

// Reference writes a section for each code, in Markdown: the part of docs/doctor.md that is made.
func Reference() string {
	var b strings.Builder
	for _, c := range Codes() {
		e, _ := Explain(c)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", c, e.Looks)
		if e.Why != "" {
			fmt.Fprintf(&b, "\n**Why.** %s.\n", capital(e.Why))
		}
		if e.Do != "" {
			fmt.Fprintf(&b, "\n**What to do.** %s.\n", capital(e.Do))
		}
		if e.More != "" {
			fmt.Fprintf(&b, "\n%s\n", e.More)
		}
	}
	return b.String()
}

// capital begins a sentence; what is in code font stays.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
