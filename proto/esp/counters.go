package esp

import "sync/atomic"

// Drop is why a packet was not opened, or Accepted. Each but Accepted has its own counter.
type Drop uint8

// The reasons, in the order in which they are looked for.
const (
	Accepted       Drop = iota
	DropUnknown         // no association has this SPI at this address; SPI 0 too
	DropExpired         // the associations' life is over, and Cool has not come by yet
	DropLength          // too short, or no multiple of the block
	DropReplay          // sequence number seen, or behind the window
	DropAuth            // wrong ICV
	DropPadding         // authentic, and the padding is not that of RFC 4303 2.4
	DropSelector        // authentic, and addresses, ports or mode are not the association's
	DropNextHeader      // authentic, and neither UDP nor TCP
	DropInner           // authentic, and the inner packet is malformed
	dropCount
)

// String is the reason as metrics and logs name it.
func (d Drop) String() string {
	if d >= dropCount {
		return "?"
	}
	return [dropCount]string{"accepted", "unknown", "expired", "length", "replay", "auth", "padding", "selector", "next-header", "inner"}[d]
}

// Drops are all reasons, for those who export the counters.
func Drops() []Drop {
	d := make([]Drop, 0, dropCount-1)
	for i := DropUnknown; i < dropCount; i++ {
		d = append(d, i)
	}
	return d
}

// Notice is something about an agreement that its owner should know; each is given once per agreement.
type Notice uint8

// The notices.
const (
	// NoticeRenew: sequence numbers of one association are half used up. The client must authenticate again: there are no
	// extended sequence numbers in ipsec-3gpp, and at the end of them nothing is sent any more.
	NoticeRenew Notice = 1 << iota
	// NoticeCollision: the peer chose the nonce prefix of one of our associations (chance 2^-31, or malice). Authenticate again.
	NoticeCollision
	// NoticeBrokenPeer: the peer uses one nonce prefix for both its associations. Authenticating again would not help.
	NoticeBrokenPeer
	// NoticeExpired: the life of the associations ended and Cool removed them.
	NoticeExpired
)

// String names the notice.
func (n Notice) String() string {
	switch n {
	case NoticeRenew:
		return "renew"
	case NoticeCollision:
		return "nonce-collision"
	case NoticeBrokenPeer:
		return "nonce-broken-peer"
	case NoticeExpired:
		return "expired"
	}
	return "?"
}

// Counters say what happened, by reason. All only grow. Safe for concurrent use.
type Counters struct {
	Opened, Sealed       atomic.Uint64 // packets
	OpenedOctets         atomic.Uint64 // of whole ESP packets
	SealedOctets         atomic.Uint64
	Nonce                atomic.Uint64 // collisions and broken peers found, each once per agreement
	Exhausted            atomic.Uint64 // packets not sent because the sequence numbers had ended
	Moved                atomic.Uint64 // outer ports learned or changed behind a NAT
	Installed, Removed   atomic.Uint64 // agreements
	Expanded             atomic.Uint64 // keys expanded
	dropped              [dropCount]atomic.Uint64
	DropKeepAlive        atomic.Uint64 // NAT keep-alives (RFC 3948 2.3)
	DropSlow             atomic.Uint64 // datagrams for a PacketConn that nobody reads
	DropTCP              atomic.Uint64 // segments without a hook for TCP
	SendErrors, SendFull atomic.Uint64 // packets the socket refused
}

// Dropped is how many packets were dropped for the reason d.
func (c *Counters) Dropped(d Drop) uint64 {
	if d >= dropCount {
		return 0
	}
	return c.dropped[d].Load()
}
