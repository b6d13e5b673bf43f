// Package pcscf is the Proxy-CSCF (TS 24.229 5.2): the first function of the core that a client's request
// meets, and the last on the way to a client.
//
// It adds Path and routes registrations home, asserts identities from the door's proof, holds clients to
// their Service-Route, and ties each dialog to the association it was made on. It owns no socket and no
// key: the C-I door does (refpoint/gm). It does not authenticate users: the S-CSCF does.
//
// node assembles it; others reach it through hop only. All methods are safe for concurrent use.
package pcscf

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/slab"
	"imsafe/refpoint/gm"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// Config is what the P-CSCF must know.
type Config struct {
	Name             hop.Name // its own host name, e.g. "pcscf.ims.example"
	Home             hop.Name // entry point of the home network (Mw): the home domain, whose I-CSCF it is
	VisitedNetworkID string   // P-Visited-Network-ID (RFC 7315 4.3)
	ChargingPrefix   string   // makes icid-values unique over nodes and restarts (TS 24.229 5.2.1)
	// DerivePrivate lets a client register that names no private identity: it follows from the public one (TS 23.003
	// 13.4B). For SIP Digest: softphones name it when they are challenged, and not before.
	DerivePrivate bool
	Budget        Budget           // what each user may send
	Emergency     gm.Emergency     // what an emergency call is, and where it goes
	Waiver        Waiver           // whose media may go in clear
	Wall          func() time.Time // of what this function signs itself; nil: it signs nothing of its own
	RemoveAfter   time.Duration    // how long an association outlives its de-registration: 64*T1 on Gm
	Even          time.Duration    // after which a stranger is answered, or a multiple of it; 0: at once
	EvenMost      time.Duration    // to which Even is doubled while answers take so long; less than Even: it stays
}

// Ports are its reference points: Gm to the clients, Iq to the media anchor, Mw (through hop) to the I- and S-CSCF.
type Ports struct {
	Gm     gm.Door
	Iq     iq.Gateway    // the media anchor; nil: media go past this function
	Sealer *shard.Sealer // seals the tokens that name an association in Path and Record-Route
	Gate   *secure.Gate
	Hop    *hop.Table     // for its own requests
	Shards []*shard.Shard // its procedures run on these, by the number of the association's
	Origin secure.Proof   // of what it says itself
	// Voucher signs the media keys of the anchor where those behind it were signed; nil: nobody does.
	Voucher Voucher
	Codes   Codes // for clients that want to fetch from services; nil: there are none
}

// Codes gives a client whose registration was authenticated over a protected path the one-time code that it trades for access tokens (RFC 6749
// 4.1.3). Code returns the body of the 200, of the type oauth.CodeType, for a public identity and the thumbprint of the client's key; nil where
// there is none to be had. It does not wait. Safe for concurrent use.
type Codes interface {
	Code(impu, jkt string) []byte
}

// PCSCF is one Proxy-CSCF.
type PCSCF struct {
	cfg           Config
	ports         Ports
	registrations *slab.Table   // association -> contact and Service-Route of its registration, one a line
	icid          atomic.Uint64 // last icid-value given out
	dialogs       *dialog.Ledger
	setups        dialog.Early[secure.Association]
	quantum       quantum // in which strangers are answered
	budgets       *budgets
	calls         *calls
	ties          *ties
	withheld      hop.Up // withholdResponse
	// answersEmergencies is the identity of who does, as the core writes it; "" if nobody does here.
	answersEmergencies string
	homeURI            []byte // where a REGISTER goes
	hidden             []byte // Contact of who does not want to be reached but within the call
}

var (
	_ hop.Function = (*PCSCF)(nil)
	_ gm.Push      = (*PCSCF)(nil)
)

// New returns a P-CSCF. It holds no resource that must be closed.
func New(cfg Config, ports Ports) (*PCSCF, error) {
	if cfg.Name == "" || cfg.Home == "" || ports.Gm == nil || ports.Sealer == nil || ports.Gate == nil || ports.Hop == nil || len(ports.Shards) == 0 {
		return nil, fmt.Errorf("pcscf: name, home, Gm, sealer, gate, hop and a shard are needed: %+v", cfg)
	}
	p := &PCSCF{cfg: cfg, ports: ports, registrations: slab.New(slab.Config{Words: [][]byte{[]byte(cfg.Home)}}), hidden: []byte("sip:anonymous@" + string(cfg.Name)), homeURI: []byte("sip:" + string(cfg.Home)),
		budgets: newBudgets(cfg.Budget), calls: newCalls(), ties: newTies(ports.Sealer),
		quantum: quantum{least: cfg.Even, most: max(cfg.Even, cfg.EvenMost)},
		dialogs: dialog.New(dialog.Config{Name: cfg.Name, Hop: ports.Hop, Proof: ports.Origin})}
	p.withheld = p.withholdResponse
	p.answersEmergencies, _ = sip.PublicIdentity([]byte(cfg.Emergency.URI))
	return p, nil
}

// Gone forgets the registration that a carried, and releases the calls over it, those that are being set up among them. The binding in the S-CSCF stays until it expires: a
// request for it is answered 430 here, and the S-CSCF then knows that this contact cannot be reached.
func (p *PCSCF) Gone(a secure.Association, why gm.Reason) {
	var b [associationSize]byte
	p.registrations.Delete(associationKey(b[:0], a))
	p.setups.Release(a, dialog.All)
	p.release(a, why)
	p.releaseMedia(a)
}

// Impersonates implements gm.Push: in the place of a client answers nobody else, as nobody else calls (TS 33.203 7.1).
func (p *PCSCF) Impersonates(asked, answers secure.Proof) bool {
	return asked.IMPI() != answers.IMPI() && p.foreignIdentity(hop.Inbound{Proof: answers}, "answers-for-another")
}

const associationSize = 9

// associationKey appends a as octets, to be the key of a table.
func associationKey(b []byte, a secure.Association) []byte {
	b = binary.BigEndian.AppendUint16(b, a.Node)
	b = append(b, a.Shard)
	b = binary.BigEndian.AppendUint32(b, a.Slot)
	return binary.BigEndian.AppendUint16(b, a.Gen)
}
