// Package isim is a soft ISIM: the application of a SIM card that a user of the IMS authenticates
// with (TS 31.103 in software). It holds the keys (Milenage, TUAK), the identities, and the array of accepted
// sequence numbers, and answers challenges (TS 33.102 6.3.3, TS 33.203 6.1.1): RES, CK and IK, or a
// wrong MAC, or a synchronisation failure with AUTS.
//
// It does not speak SIP, computes no Digest and counts no bad challenges in a row: client/ue does.
// Where the array is kept over a restart is decided by whoever hands in a State. It shares
// nothing with the core but proto/aka. A Card is safe for concurrent use.
package isim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"imsafe/proto/aka"
)

// Identity is what the card says about its user (TS 31.103 4.2.2 EF_IMPI, 4.2.3 EF_DOMAIN, 4.2.4
// EF_IMPU).
type Identity struct {
	IMPI       string   // private identity, user@realm
	HomeDomain string   // registrar: the Request-URI of a REGISTER, and the realm
	IMPUs      []string // public identities as SIP or tel URIs; the first is the one to register
}

// FromIMSI derives the identity of a card without ISIM data from an IMSI (TS 23.003 13.2, 13.3,
// 13.4B). mnc has 2 or 3 digits, and 01 is not 1: it is part of the number, not a value. It returns
// an error that names what is wrong.
func FromIMSI(mcc, mnc, msin string) (Identity, error) {
	for _, part := range []struct {
		name, digits string
		least, most  int
	}{{"MCC", mcc, 3, 3}, {"MNC", mnc, 2, 3}, {"MSIN", msin, 1, 10}} {
		if n := len(part.digits); n < part.least || n > part.most || strings.Trim(part.digits, "0123456789") != "" {
			return Identity{}, fmt.Errorf("isim: %s is %q, not %d to %d digits", part.name, part.digits, part.least, part.most)
		}
	}
	imsi := mcc + mnc + msin
	if len(imsi) > 15 {
		return Identity{}, fmt.Errorf("isim: IMSI %s has %d digits, at most 15", imsi, len(imsi))
	}
	domain := fmt.Sprintf("ims.mnc%03s.mcc%s.3gppnetwork.org", mnc, mcc)
	return Identity{IMPI: imsi + "@" + domain, HomeDomain: domain, IMPUs: []string{"sip:" + imsi + "@" + domain}}, nil
}

// State keeps the card's memory over a restart. Save is durable when it returns: a card that forgets
// what it accepted can be shown an old challenge again.
type State interface {
	// Load returns what the last Save was given, or nil for a new card.
	Load() ([]byte, error)
	// Save keeps data in place of what was there.
	Save(data []byte) error
}

// Volatile is a State without a memory: for tests, and for a demo whose subscriber lives as long as
// the process. The zero value is ready.
type Volatile struct{}

// Load returns nil: a new card.
func (Volatile) Load() ([]byte, error) { return nil, nil }

// Save forgets data.
func (Volatile) Save([]byte) error { return nil }

// Config makes a Card.
type Config struct {
	Identity  Identity
	K         aka.K // for Milenage
	OPc       aka.OPc
	Algorithm aka.Algorithm // of a card that is not Milenage, with its keys inside: then K and OPc are not used
	State     State         // nil is refused: forgetting must be asked for with Volatile
}

// Card is a soft ISIM.
type Card struct {
	identity  Identity
	algorithm aka.Algorithm
	state     State

	mu     sync.Mutex // guards window, and is held over State.Save so that saves keep their order
	window aka.Window
}

var (
	// ErrMAC means that the challenge was not made by a network that knows K: wrong K, OP taken for
	// OPc, or a forgery. The UE answers without a response (TS 24.229 5.1.1.5.3).
	ErrMAC = errors.New("isim: the network did not prove that it knows K")
	// ErrState is returned for a State that is not the memory of a card.
	ErrState = errors.New("isim: the saved sequence numbers are not readable")
)

// SyncFailure is the error for a challenge that is authentic but not fresh. AUTS tells the home
// network which number this card has seen (TS 33.102 6.3.3).
type SyncFailure struct{ AUTS aka.AUTS }

// Error says what happened, without the token.
func (*SyncFailure) Error() string {
	return "isim: sequence number out of range, resynchronisation wanted"
}

// New makes a card and loads its memory.
func New(c Config) (*Card, error) {
	switch {
	case c.State == nil:
		return nil, errors.New("isim: no State; say Volatile to forget")
	case c.Identity.IMPI == "" || c.Identity.HomeDomain == "" || len(c.Identity.IMPUs) == 0:
		return nil, errors.New("isim: IMPI, home domain and at least one IMPU are needed")
	}
	card := &Card{identity: c.Identity, algorithm: c.Algorithm, state: c.State}
	if card.algorithm == nil {
		card.algorithm = aka.NewMilenage(c.K, c.OPc)
	}
	card.identity.IMPUs = append([]string(nil), c.Identity.IMPUs...)
	data, err := c.State.Load()
	if err != nil {
		return nil, fmt.Errorf("isim: load: %w", err)
	}
	if data != nil {
		if card.window, err = decodeWindow(data); err != nil {
			return nil, err
		}
	}
	return card, nil
}

// Identity returns the card's identities. The slice belongs to the caller.
func (c *Card) Identity() Identity {
	id := c.identity
	id.IMPUs = append([]string(nil), id.IMPUs...)
	return id
}

// Keys is the answer to a challenge. RES is the Digest password or part of it; CK and IK feed the
// security associations.
type Keys struct {
	RES aka.RES
	CK  aka.CK
	IK  aka.IK
}

// Authenticate answers a challenge (TS 33.102 6.3.3). It returns ErrMAC for a network that does not
// know K, *SyncFailure for a challenge that was seen before or is too far ahead, or an error of State: then
// the challenge was not accepted. In every error case Keys is empty. MAC comes before freshness, so a
// forger learns nothing about the sequence number.
func (c *Card) Authenticate(rand aka.RAND, autn aka.AUTN) (Keys, error) {
	o, err := aka.Open(c.algorithm, rand, autn)
	if err != nil {
		return Keys{}, ErrMAC
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.window
	if next.Accept(o.SQN) != nil {
		return Keys{}, &SyncFailure{AUTS: aka.MakeAUTS(c.algorithm, rand, c.window.Highest())}
	}
	if err := c.state.Save(encodeWindow(&next)); err != nil {
		return Keys{}, fmt.Errorf("isim: save: %w", err)
	}
	c.window = next
	return Keys{RES: o.RES, CK: o.CK, IK: o.IK}, nil
}

// stateVersion stands in the first octet of what State keeps.
const stateVersion = 1

func encodeWindow(w *aka.Window) []byte {
	b := append(make([]byte, 0, 1+8*aka.INDCount), stateVersion)
	for _, seq := range w {
		b = binary.BigEndian.AppendUint64(b, seq)
	}
	return b
}

func decodeWindow(b []byte) (aka.Window, error) {
	var w aka.Window
	if len(b) != 1+8*aka.INDCount || b[0] != stateVersion {
		return w, ErrState
	}
	for i := range w {
		if w[i] = binary.BigEndian.Uint64(b[1+8*i:]); w[i] > aka.MaxSEQ {
			return aka.Window{}, ErrState
		}
	}
	return w, nil
}
