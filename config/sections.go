package config

// The comments of the structs and fields in this file are what config.Write prints. Write them for the
// person who runs a network: what it does, its unit, what happens without it.

// Config is the whole file. Its zero value is not useful: start from Default.
type Config struct {
	Node         Node         `toml:"node"`
	IMS          IMS          `toml:"ims"`
	CI           CI           `toml:"ci"`
	Mw           Mw           `toml:"mw"`
	Cx           Cx           `toml:"cx"`
	Sh           Sh           `toml:"sh"`
	IS           IS           `toml:"is"`
	CS           CS           `toml:"cs"`
	HTTPS        HTTPS        `toml:"https"`
	Registration Registration `toml:"registration"`
	Numbering    Numbering    `toml:"numbering"`
	Budget       Budget       `toml:"budget"`
	Emergency    Emergency    `toml:"emergency"`
	HSS          HSS          `toml:"hss"`
	Store        Store        `toml:"store"`
	Management   Management   `toml:"management"`
	Metrics      Metrics      `toml:"metrics"`
	Page         Page         `toml:"page"`
	Log          Log          `toml:"log"`
	Timers       Timers       `toml:"timers"`
}

// Node is this process.
type Node struct {
	// Name of this node in logs and certificates: lower-case letters, digits and hyphens.
	Name string `toml:"name"`
	// Number of this node, 1 to 65535, different on every node of one network. It is part of every
	// token the node issues.
	Number uint16 `toml:"number"`
	// Lab makes this a laboratory: test clients without protection may be admitted on loopback, and
	// controls may be switched off for attacks. A store keeps the mark for good: a production store
	// refuses a lab process, and the reverse.
	Lab bool `toml:"lab"`
	// Directory of the store: its journal and its database. An absolute path, readable by nobody else.
	DataDir string `toml:"data_dir"`
	// Roles are the functions in this process: "pcscf", "icscf", "scscf", "hss". Without it, all of them.
	Roles []string `toml:"roles"`
	// Shards are the threads that carry the traffic. 0 takes one per processor.
	Shards int `toml:"shards"`
	// Heap is how much memory fills up with what is no longer used before it is searched for that, at least a quarter of what the search looks into. More
	// memory costs less processor; 0 leaves it to Go. The variables GOGC and GOMEMLIMIT of Go, where they are set, come first.
	Heap Size `toml:"heap"`
}

// IMS is the home network. Give either its domain, or mcc and mnc, from which the domain follows.
type IMS struct {
	// Domain of the home network, in lower case, such as "ims.example.org".
	Domain string `toml:"domain"`
	// Mobile country code: three digits in quotes. With mnc it gives the domain that SIM cards
	// without ISIM derive, ims.mnc001.mcc001.3gppnetwork.org (TS 23.003 13.2).
	MCC string `toml:"mcc"`
	// Mobile network code: two or three digits in quotes. "01" and "1" are not the same, and "01" and
	// "001" are different networks.
	MNC string `toml:"mnc"`
}

// CI is the door to the clients: C-I, the Gm reference point.
type CI struct {
	TLS       CITLS       `toml:"tls"`
	IPsec     CIIPsec     `toml:"ipsec"`
	LabUDP    CILabUDP    `toml:"lab_udp"`
	Digest    CIDigest    `toml:"digest"`
	DigestMD5 CIDigestMD5 `toml:"digest_md5"`
	Budget    CIBudget    `toml:"budget"`
	Drop      CIDrop      `toml:"drop"`
}

// CIDrop has the kernel drop what comes from addresses that send very much more than [ci.budget] lets them, before it costs this
// process anything: rules of nf_tables, which it puts there and takes away when it stops. It needs CAP_NET_ADMIN. An address that has
// registered lately is never dropped; calls for help from one that is dropped are not heard over UDP.
type CIDrop struct {
	// Without it nobody is dropped, only refused.
	Enabled bool `toml:"enabled"`
	// So many refusals: an address with more is dropped.
	After Rate `toml:"after"`
	// For so long, then it is served again.
	For Duration `toml:"for"`
}

// CIBudget is what those may cost who have not proven who they are, and what one client may. Beyond it there is
// 503 with Retry-After where an answer cannot hit somebody else, and silence over UDP. Each is a number of
// requests in a time, and how many may come at once.
type CIBudget struct {
	// Each address over UDP, and apart from that each over TCP and TLS: requests of clients without a
	// registration. An IPv6 address counts as its /64. Datagrams of any kind may be five times as many. Several
	// telephones behind one NAT share it.
	Source Rate `toml:"source"`
	// Each network, an IPv4 /24 or an IPv6 /48, the same: for those who have many addresses.
	Network Rate `toml:"network"`
	// Each address: new connections over TCP and TLS. A network may open ten times as many.
	Connection Rate `toml:"connection"`
	// Each registered client: requests within its registration. They cost no other budget.
	Client Rate `toml:"client"`
	// Each subscriber, for each address that has proven that it receives: challenges, each of which draws an
	// authentication vector. All addresses together that have not proven it have one share more.
	Challenge Rate `toml:"challenge"`
	// The same for cards that say that their sequence number is another (AUTS).
	Resync Rate `toml:"resync"`
	// All addresses over UDP together that have never registered: first REGISTERs that are answered. What is
	// beyond it is not, while those who registered lately, and TCP and TLS, are served.
	Unproven Rate `toml:"unproven"`
	// Emergency calls of clients without a registration, from each address. They cost no other budget.
	Emergency Rate `toml:"emergency"`
	// New calls, messages and other requests of each user while the node has more to do than it can. Who sends
	// more is refused first.
	Share Rate `toml:"share"`
	// Each user: octets of all that he sends but REGISTER and the text of messages, which [budget] counts. Calls and
	// messages have records; what stands in their headers, and what goes on within a call, has none.
	Signalling Rate `toml:"signalling"`
	// Octets of the headers of one message. A request with more is answered 513; from what cannot be refused the
	// headers are taken off that no standard names.
	Headers int `toml:"headers"`
	// How long an address counts as one that receives, after a client has registered from it.
	Remember Duration `toml:"remember"`
}

// Rate is a number of requests in a time.
type Rate struct {
	// So many,
	Limit int `toml:"limit"`
	// in this time,
	Per Duration `toml:"per"`
	// and so many at once after a while of none.
	Burst int `toml:"burst"`
}

// CITLS serves clients over TLS.
type CITLS struct {
	// Addresses to listen on, each with its port. Empty: no clients over TLS.
	Listen []Address `toml:"listen"`
	// File with the certificate chain in PEM, the server's own first.
	CertificateFile string `toml:"certificate_file"`
	// File with the private key in PEM, readable by the owner only.
	KeyFile SecretFile `toml:"key_file"`
	// Lowest version of TLS, "1.3" or "1.2". With 1.2 only AEAD ciphers are accepted.
	MinVersion string `toml:"min_version"`
}

// CIIPsec serves clients with a SIM card inside security associations (ipsec-3gpp, TS 33.203): telephones.
type CIIPsec struct {
	// Addresses for first REGISTERs, each with its port, which is 5060 for telephones. UDP and TCP are
	// served on each. Empty: no clients over IPsec.
	Listen []Address `toml:"listen"`
	// What clients may agree on. "strict": AES-GCM alone. "handset" adds HMAC-SHA-1 with AES-CBC, which is
	// what many telephones can. "legacy" adds integrity without encryption. Each but the first is a
	// weakening: it is logged at each start and shown in the metrics.
	Profile string `toml:"profile"`
	// Protected server port. No socket listens on it: what comes there in clear reaches nobody.
	ServerPort uint16 `toml:"server_port"`
	// Protected client ports, at least three.
	ClientPorts []uint16 `toml:"client_ports"`
	// Who does ESP on IP. "user": this process, which leaves nothing behind. "kernel": the kernel's XFRM, which
	// needs CAP_NET_ADMIN and a kernel with ESP; where one of the algorithms cannot be had the start fails.
	// "auto": the kernel if it can do everything that is configured here, else this process. ESP in UDP is
	// this process's always.
	Backend string `toml:"backend"`
	// How ESP travels on IP: "auto" if this process may (CAP_NET_RAW), "on" to fail at start if it may not,
	// "off".
	ESP string `toml:"esp"`
	// Port for ESP in UDP, for clients behind a NAT (TS 33.203 Annex M). 0: none. It needs no privilege.
	NATPort uint16 `toml:"nat_port"`
	// Devices that may have algorithms that the profile has not, until a day.
	Exceptions []CIException `toml:"exception"`
}

// CIException lets one device, or a range of them, have algorithms that no profile has, such as MD5. It is a
// weakening with an owner and an end.
type CIException struct {
	// Private identity of one subscriber, such as "001010000000001@ims.mnc001.mcc001.3gppnetwork.org".
	IMPI string `toml:"impi"`
	// Or a range of IMEIs, 14 digits each, both included. A device says its IMEI itself.
	IMEIFrom string `toml:"imei_from"`
	IMEITo   string `toml:"imei_to"`
	// Pairs of integrity and encryption, such as "hmac-md5-96/null".
	Algorithms []string `toml:"algorithms"`
	// Who answers for it.
	Owner string `toml:"owner"`
	// Last day on which it holds, such as "2027-03-31".
	Until string `toml:"until"`
}

// CILabUDP serves test clients in clear over UDP. Only in a lab and only on loopback.
type CILabUDP struct {
	// Addresses to listen on, each with its port. Empty: off.
	Listen []Address `toml:"listen"`
}

// Mw is the wire to nodes that have the functions this one has not: SIP over mutual TLS.
type Mw struct {
	// Address to listen on for them, with its port. Empty: no wire.
	Listen Address `toml:"listen"`
	// In a lab: SIP in clear over UDP, to CSCFs of other makes, which are known by their address alone.
	Clear bool `toml:"clear"`
	// File with this node's certificate chain in PEM, good for server and client. Here and below: for [cx] too.
	CertificateFile string `toml:"certificate_file"`
	// File with its private key in PEM, readable by the owner only.
	KeyFile SecretFile `toml:"key_file"`
	// File with the authority that signs the nodes of this network, in PEM.
	CAFile string `toml:"ca_file"`

	PCSCF MwPeer `toml:"pcscf"`
	ICSCF MwPeer `toml:"icscf"`
	SCSCF MwPeer `toml:"scscf"`
	// The other nodes of this network that have all functions, as this one has, and share its store.
	Nodes []MwNode `toml:"node"`
}

// MwNode is another node with all functions, on the same store. With one, the functions of each node are called after it:
// scscf.NAME before the home domain. The session keys of a challenge may go to it and come from it.
type MwNode struct {
	// Its name in its own [node].
	Name string `toml:"name"`
	// Where it listens in [mw].
	Address Address `toml:"address"`
	// DNS name in its certificate.
	Certificate string `toml:"certificate"`
}

// MwPeer is the node that has one of the functions.
type MwPeer struct {
	// Where it listens. Empty: it is in this process, or nowhere.
	Address Address `toml:"address"`
	// DNS name in its certificate.
	Certificate string `toml:"certificate"`
	// Host names of its function. Without it, the function's name before the home domain.
	Names []string `toml:"names"`
	// The session keys of a challenge may go to it and come from it: the P-CSCF needs them for IPsec.
	Keys bool `toml:"keys"`
}

// CIDigest admits subscribers who have a password in the place of a SIM card: SIP Digest with SHA-256, over
// TLS only. A password can be guessed and given away, a card cannot. The subscriber's record says which of
// the two he has; no client picks it.
type CIDigest struct {
	// Without it, subscribers with scheme SHA-256 are neither provisioned nor let in.
	Enabled bool `toml:"enabled"`
}

// CIDigestMD5 is the access profile digest-md5: SIP Digest with MD5, over TLS only, for softphones that know
// nothing better. It is a weakening: MD5 makes passwords cheap to guess for whoever has the sealed records
// and their key. It is logged at each start and shown in the metrics. Only subscribers with scheme MD5 use it.
type CIDigestMD5 struct {
	// Without it, subscribers with scheme MD5 are neither provisioned nor let in.
	Enabled bool `toml:"enabled"`
}

// Cx is the wire between CSCFs and an HSS on another node: Diameter over mutual TLS, with the certificate of [mw].
type Cx struct {
	// Name of this node in Diameter, which stands in its certificate too. Without it, "hss" or, without that
	// role, "cscf" before the home domain.
	Name string `toml:"name"`
	// For the HSS: address to listen on for CSCFs, with its port. Empty: it serves those of this process.
	Listen Address `toml:"listen"`
	// For the HSS: names of the nodes whose CSCFs it serves. Others are turned away.
	Clients []string `toml:"clients"`
	// For the HSS: S-CSCFs of its clients by their SIP names. A client takes users and gets vectors in the names of its own S-CSCFs alone. One that is not
	// here is at the client that is called as the host of its SIP name, and scscf. before the home domain at the only client.
	SCSCFs []CxSCSCF `toml:"scscf"`
	// For the HSS: names of nodes that have an I-CSCF and no S-CSCF. They may ask where users are, and get neither users nor
	// vectors (TS 29.228 6.1, 6.3).
	Interrogating []string `toml:"interrogating_clients"`
	// For CSCFs: address of the HSS. Empty: it is in this process.
	Server Address `toml:"server"`
	// For CSCFs: name of the HSS. Without it, "hss" before the home domain.
	ServerName string `toml:"server_name"`
	// For CSCFs: address of a second HSS with the same subscribers, which is asked while the first is not there.
	// Empty: there is none.
	Alternate Address `toml:"alternate"`
	// For CSCFs: its name.
	AlternateName string `toml:"alternate_name"`
	// For S-CSCFs: version of AKA that the cards use where the HSS does not say it: "AKAv1-MD5", or "AKAv2-SHA-256",
	// which clients over TLS need. On Cx both have one name; an imsafe HSS says which it is for each subscriber.
	AKA string `toml:"aka"`
	// How long a silent peer is let be before it is asked whether it is there, and again before its requests go to
	// another (RFC 3539, Tw). 6s at least.
	Watchdog Duration `toml:"watchdog"`
	// In a lab: Diameter in clear, and with it the session keys of every challenge, to functions of other
	// makes that know no TLS 1.3. Who listens there owns every security association. Subscribers with a password
	// are not served over it: what was made of their password never goes in clear.
	LabCleartextKeys bool `toml:"lab_cleartext_keys"`
}

// CxSCSCF is an S-CSCF on another node.
type CxSCSCF struct {
	// Its SIP name, as it stands in Server-Name (TS 29.229 6.3.3), such as "sip:scscf1.ims.example.org:6060".
	Name string `toml:"name"`
	// Which of clients has it.
	Client string `toml:"client"`
}

// Sh is the wire between the HSS and application servers: Diameter over mutual TLS, with the certificate of [mw]. An application server is
// who its certificate says, and may do what it is granted here or by the approval of its manifest; everything else is denied.
type Sh struct {
	// Address to listen on for application servers, with its port. Clients must not reach it. Empty: application servers of this
	// process only.
	Listen Address `toml:"listen"`
	// Name of this node towards application servers, which stands in its certificate too. Without it, that of [cx].
	Name string `toml:"name"`
	// File with the certificates, in PEM, of the authority that vouches for application servers. Without it, that of [mw].
	CAFile string `toml:"ca_file"`
	// How long a silent application server is let be before it is asked whether it is there (RFC 3539, Tw). 6s at least.
	Watchdog Duration `toml:"watchdog"`
	// Application servers.
	Services []ShService `toml:"service"`
	// What they may do.
	Grants []ShGrant `toml:"grant"`
}

// ShService is a service and the instances of it.
type ShService struct {
	// Its name, which grants are for.
	Name string `toml:"name"`
	// The DNS names of its instances, each in the certificate of one and the host of its SIP URI.
	Hosts []string `toml:"hosts"`
}

// ShGrant is what a service may do with the data of some subscribers.
type ShGrant struct {
	// Name of the service.
	Service string `toml:"service"`
	// Data by the names of TS 29.328 table 7.6.1, such as "RepositoryData". "*" is all but those that say where somebody is, which
	// number, cards and devices he has, and what is switched on for him: LocationInformation, MSISDN, DSAI, IMSI and the like are granted
	// by their names.
	Data []string `toml:"data"`
	// Service-Indications of "RepositoryData": whose documents. Without any, those with the name of the service; "*" is all of them.
	Indications []string `toml:"indications"`
	// "pull", "update", "subscribe".
	Operations []string `toml:"operations"`
	// Groups of subscribers.
	Groups []string `toml:"groups"`
	// All subscribers, in the place of groups.
	Everybody bool `toml:"everybody"`
	// How often in a second, refusals included.
	Rate int `toml:"rate"`
}

// IS is the door to the service platforms: I-S, the ISC reference point.
type IS struct {
	// Public halves of the operators' approval keys, as "imsafe approver new" prints them. Their private halves are not on
	// this machine. Without one, no service platform can be approved.
	ApprovalKeys []string `toml:"approval_keys"`

	// Address and port where approved service platforms connect, over mutual TLS 1.3. Empty: off. Clients must not reach it.
	Listen Address `toml:"listen"`

	Enrol ISEnrol `toml:"enrol"`
}

// ISEnrol is where service platforms ask to be approved, over HTTPS, each with a token of "imsafe service invite".
type ISEnrol struct {
	// Address and port. Empty: off, and no platform can ask.
	Listen Address `toml:"listen"`
}

// CS is the door for media: C-S. Calls of clients pass an anchor, which has keys of its own with each end: DTLS-SRTP, or keys in
// the description (SDES) where the client's signalling is encrypted, between which it translates.
type CS struct {
	// Addresses that clients send media to, each with the first port of its range; one of IPv4 and one of IPv6 at most.
	// Empty: media are not anchored, and go from client to client as these agree.
	Listen []Address `toml:"listen"`
	// How many ports from the first on. A voice call between two clients of this node takes eight.
	Ports int `toml:"ports"`
	// Calls that one user may have at a time. 0 sets no bound.
	SessionsPerUser int `toml:"sessions_per_user"`
	// What a client may send of audio, in kbit/s, where its call has not agreed on less.
	Audio int `toml:"audio"`
	// The same for video and everything else.
	Video int `toml:"video"`
	// A call in which nobody has sent anything for so long, though both may, is ended. 0: never.
	Silence Duration `toml:"silence"`
	// The anchor's process: "own", so that calls go on when the node dies, or "shared" with the node.
	Process string `toml:"process"`
	// How long calls go on at most whose node has died, in a process of its own. 0: they end with it.
	Outlives Duration `toml:"outlives"`
	// Such a call ends before that when one of its ends says that it leaves, or has sent nothing for so long though it may.
	OutlivesSilence Duration `toml:"outlives_silence"`
	// In a lab: clients whose signalling goes in clear may talk in clear.
	LabPlain bool `toml:"lab_plain"`
	// Subscribers who may talk in clear, until a day.
	Waivers []CSWaiver `toml:"waiver"`
}

// CSWaiver lets some subscribers have RTP in clear, such as telephones that know nothing else and whose access is encrypted
// elsewhere. It is a weakening with an owner and an end.
type CSWaiver struct {
	// Their public identities, such as "sip:alice@ims.example.org".
	Identities []string `toml:"identities"`
	// Everybody who has security associations (IPsec): telephones with a SIM card, most of which know RTP in clear alone, over a radio bearer
	// that is encrypted.
	IPsec bool `toml:"ipsec"`
	// Who answers for it.
	Owner string `toml:"owner"`
	// Last day on which it holds, such as "2027-03-31".
	Until string `toml:"until"`
}

// HTTPS is the half of the door C-S where clients fetch: the certificates of the network's signer, and tokens for services. It needs the
// authority of the network ("imsafe ca new"), whose root is what clients trust.
type HTTPS struct {
	// Address and port, over TLS 1.3. Empty: off, and what the network signs cannot be verified by clients.
	Listen Address `toml:"listen"`
	// Origin by which clients reach it. Without it, https, "cs." before the home domain, with the port if that is not 443.
	Origin string `toml:"origin"`
}

// Registration bounds the lives of registrations at the S-CSCF.
type Registration struct {
	// A client that wishes less is told this (423).
	MinExpires Duration `toml:"min_expires"`
	// What a client gets that wishes nothing.
	DefaultExpires Duration `toml:"default_expires"`
	// A longer wish is cut to this.
	MaxExpires Duration `toml:"max_expires"`
	// After this time a refresh is challenged again, even over a protected connection.
	Reauthenticate Duration `toml:"reauthenticate"`
}

// Numbering is how the home network reads numbers as people dial them. Without it only numbers that begin
// with "+", or that say under which prefix they are, are numbers for everybody.
type Numbering struct {
	// Country code of the home network, without "+", such as "49".
	CountryCode string `toml:"country_code"`
	// What is dialled before a country code, such as "00" or "011".
	International string `toml:"international"`
	// What is dialled before an area code, such as "0". Without it, nothing is.
	National string `toml:"national"`
	// Area code that belongs to numbers dialled without one.
	Area string `toml:"area"`
	// Prefixes of numbers that nobody may dial, each with "+": premium and shared-cost numbers, satellites. Where
	// country_code is given, numbers of other countries are barred as well.
	Barred []string `toml:"barred"`
	// Prefixes that everybody may dial all the same, such as "+33". The longest prefix decides.
	Allowed []string `toml:"allowed"`
	// Who else may dial what.
	Permissions []NumberPermission `toml:"permission"`
}

// NumberPermission lets some users dial numbers that are barred to others.
type NumberPermission struct {
	// Their public identities, such as "sip:alice@ims.example.org".
	Identities []string `toml:"identities"`
	// Everybody who has security associations (IPsec): telephones with a SIM card.
	IPsec bool `toml:"ipsec"`
	// Prefixes, each with "+". "+" is every number.
	Prefixes []string `toml:"prefixes"`
}

// Budget is how many requests one user may send a minute; as many at once if he was quiet. What belongs to a call,
// repetitions and emergency calls do not count. 0 sets no bound.
type Budget struct {
	// Calls to others.
	Calls int `toml:"calls"`
	// Instant messages and SMS.
	Messages int `toml:"messages"`
	// Subscriptions and publications.
	Subscriptions int `toml:"subscriptions"`
	// Transfers outside of a call.
	Transfers int `toml:"transfers"`
	// Notifications outside of a subscription.
	Notifications int `toml:"notifications"`
	// Everything else, such as OPTIONS to another user.
	Others int `toml:"others"`
}

// Emergency is what an emergency call is, and where it goes.
type Emergency struct {
	// Numbers that are emergency calls however they are dialled, beside the URN service:sos.
	Numbers []string `toml:"numbers"`
	// SIP URI that answers them. Without it a client is told to try another network (380).
	URI string `toml:"uri"`
}

// HSS is the home subscriber server.
type HSS struct {
	// File with the keys under which K and OPc are sealed in the store, readable by the owner only, and
	// not in data_dir. "credential:NAME" takes it from the system's credentials (systemd's
	// LoadCredential).
	SealingKeyFile SecretFile `toml:"sealing_key_file"`
}

// Store keeps everything that must survive.
type Store struct {
	// "embedded" keeps it in data_dir. "postgres" keeps it in a database that several nodes of one network share; backups are the
	// database's then.
	Engine string `toml:"engine"`
	// Where the database is: "postgres://imsafe@db.example.org/imsafe", or words as libpq takes them, such as
	// "host=/run/postgresql user=imsafe dbname=imsafe"; without the password. A server on another machine shows a certificate for its
	// name (sslrootcert=FILE says whose). PGPASSWORD and the other variables of libpq say what is not said here.
	URL string `toml:"url"`
	// File with the password, readable by the owner only, or "credential:NAME". Without it the variables tell, or none is needed.
	PasswordFile SecretFile `toml:"password_file"`
	// What the database may be weaker in than it has to be: "tls" (the server's certificate is not verified), "fsync-off",
	// "synchronous-commit-off" and "synchronous-commit-local" (it may lose what it acknowledged).
	Weaken []string `toml:"weaken"`
	// Longest time that a change waits for others, so that they share one write to the disk.
	Window Duration `toml:"window"`
	// Memory for records that were read.
	Cache Size `toml:"cache"`
}

// Management is the operator's door, a Unix socket. The kernel says who is calling.
type Management struct {
	// Path of the socket. Empty puts it into data_dir.
	Socket string `toml:"socket"`
	// User numbers that may do everything. Root and the user that runs imsafe always may.
	Operators []uint32 `toml:"operators"`
	// User numbers that may only look.
	Viewers []uint32 `toml:"viewers"`
}

// Metrics are served to Prometheus over HTTP, without a login, so only on loopback.
type Metrics struct {
	// Address and port. Empty: off.
	Listen Address `toml:"listen"`
}

// Page is what the operator sees in a browser, beside the metrics and with a login (imsafe page).
type Page struct {
	// How many of the last calls and registrations are kept with all their messages, in memory, for imsafe trace and the page: identities, headers and
	// protection, never keys or bodies. It costs some microseconds for each message. 0: none.
	Ladders int `toml:"ladders"`
}

// Log goes to standard error.
type Log struct {
	// "debug", "info", "warn" or "error".
	Level string `toml:"level"`
	// "text" or "json".
	Format string `toml:"format"`
}

// Timers of SIP transactions (RFC 3261 17, TS 24.229 7.7).
type Timers struct {
	// Time for calls and transactions to end when the process is told to stop.
	Drain Duration `toml:"drain"`
	// Between client and P-CSCF, where radio is slow.
	Gm SIPTimers `toml:"gm"`
	// Between functions of the core.
	Core SIPTimers `toml:"core"`
}

// SIPTimers are the three from which all others follow.
type SIPTimers struct {
	// Estimate of the round-trip time, and first interval of retransmission.
	T1 Duration `toml:"t1"`
	// Longest interval of retransmission.
	T2 Duration `toml:"t2"`
	// Longest life of a message in the network.
	T4 Duration `toml:"t4"`
}
