// Package cxtest is the suite that every implementation of cx.Server passes: in process, and behind a wire
// form. Each test is a situation of TS 29.228 6.1 and 6.3 as the I-CSCF or S-CSCF meets it.
//
// Tests of implementations import it, nothing else. It uses proto/aka to play the card.
package cxtest

import (
	"errors"
	"slices"
	"testing"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// Identity is a public identity that the suite wants: a range if its octets say so.
type Identity struct {
	IMPU   cx.IMPU
	Barred bool
}

// Subscriber is a subscription that the suite wants to be there.
type Subscriber struct {
	IMPIs  []cx.IMPI // all share the sets; each has the keys below
	K      aka.K
	OPc    aka.OPc
	AMF    aka.AMF
	Scheme aka.DigestAlgorithm
	Sets   [][]Identity // implicit registration sets
	// Unregistered asks for a filter criterion for terminating requests to the unregistered user. Without
	// it the subscriber has no services.
	Unregistered bool
	// Service makes it a public service without cards: its identities are public service identities, and Unregistered gives it
	// criteria. AS is the application server that requests go to directly; "" is none.
	Service bool
	AS      string
	// Capabilities are what its S-CSCF must have; nil asks for none.
	Capabilities *cx.ServerCapabilities
}

// Fixture is an implementation that holds the subscribers.
type Fixture struct {
	Server cx.Server
	// Run runs fn as a procedure and returns when it has returned.
	Run func(fn func(t *shard.Task))
	// Commit applies a batch as an S-CSCF does, and settles it. nil: the implementation takes no batches.
	Commit func(b *cx.Batch) error
	// Crash ends the server without a farewell and starts it again on what is durable; Server is then the new
	// one. nil: the suite cannot.
	Crash func()
}

// Factory makes a fixture. It registers its cleanup with t.
type Factory func(t *testing.T, subscribers []Subscriber) *Fixture

// The network of the suite. Implementations are configured for it.
const (
	Home    = "ims.mnc001.mcc001.3gppnetwork.org"
	Visited = "ims.mnc099.mcc999.3gppnetwork.org" // a network that nobody may roam in
)

const (
	alice     cx.IMPI = "001010000000001@" + Home
	bob       cx.IMPI = "001010000000002@" + Home
	tablet    cx.IMPI = "001010000000003@" + Home // shares the identities of phone
	phone     cx.IMPI = "001010000000004@" + Home
	silent    cx.IMPI = "001010000000005@" + Home // every identity but one is barred
	exchange  cx.IMPI = "001010000000006@" + Home // a private branch exchange: a range of users
	chat      cx.IMPI = "chat@" + Home            // a service
	lobby     cx.IMPI = "lobby@" + Home           // a service whose application server is asked directly
	stranger  cx.IMPI = "001010000000099@" + Home
	scscf             = "sip:scscf1." + Home
	otherCSCF         = "sip:scscf2." + Home
)

const (
	aliceIMPU   cx.IMPU = "sip:001010000000001@" + Home // barred: not for sessions (TS 23.003 13.4B)
	aliceSIP    cx.IMPU = "sip:alice@" + Home
	aliceTel    cx.IMPU = "tel:+15550001"
	aliceWork   cx.IMPU = "sip:alice.work@" + Home // a set of its own
	bobSIP      cx.IMPU = "sip:bob@" + Home
	sharedSIP   cx.IMPU = "sip:home@" + Home
	pilotSIP    cx.IMPU = "sip:pbx@" + Home
	pbxRange    cx.IMPU = "sip:pbx-![0-9]{3}!@" + Home
	pbxTel      cx.IMPU = "tel:+1555777!.*!"
	deskSIP     cx.IMPU = "sip:pbx-100@" + Home // bob's own, though it falls into the range
	chatPSI     cx.IMPU = "sip:chat@" + Home
	roomPSI     cx.IMPU = "sip:room-!.*!@" + Home
	redPSI      cx.IMPU = "sip:room-red!.*!@" + Home
	lobbyPSI    cx.IMPU = "sip:lobby!.*!@" + Home
	lobbyAS             = "sip:as." + Home
	silentIMPU  cx.IMPU = "sip:001010000000005@" + Home
	silentSIP   cx.IMPU = "sip:silent@" + Home
	unknownIMPU cx.IMPU = "sip:nobody@" + Home
)

// world is the fixture with a card per subscriber.
type world struct {
	*Fixture
	t     *testing.T
	cards map[cx.IMPI]*card
}

// card is the other end of AKA, independent of client/isim.
type card struct {
	algorithm aka.Algorithm
	window    aka.Window
	seen      map[aka.SQN]bool
}

func subscribers() []Subscriber {
	return []Subscriber{
		{IMPIs: []cx.IMPI{alice}, K: aka.K{1}, OPc: aka.OPc{11}, Scheme: aka.AKAv1MD5, Sets: [][]Identity{
			{{aliceIMPU, true}, {aliceSIP, false}, {aliceTel, false}}, {{aliceWork, false}}}},
		{IMPIs: []cx.IMPI{bob}, K: aka.K{2}, OPc: aka.OPc{12}, AMF: aka.AMF{0x80, 0}, Scheme: aka.AKAv2SHA256,
			Sets: [][]Identity{{{bobSIP, false}, {deskSIP, false}}}, Unregistered: true},
		{IMPIs: []cx.IMPI{phone, tablet}, K: aka.K{3}, OPc: aka.OPc{13}, Scheme: aka.AKAv2MD5,
			Sets: [][]Identity{{{sharedSIP, false}}}},
		{IMPIs: []cx.IMPI{silent}, K: aka.K{4}, OPc: aka.OPc{14}, Scheme: aka.AKAv2SHA256,
			Sets: [][]Identity{{{silentIMPU, true}, {silentSIP, false}}}},
		{IMPIs: []cx.IMPI{exchange}, K: aka.K{5}, OPc: aka.OPc{15}, Scheme: aka.AKAv2SHA256,
			Sets: [][]Identity{{{pbxRange, false}, {pilotSIP, false}, {pbxTel, false}}}},
		{IMPIs: []cx.IMPI{chat}, Sets: [][]Identity{{{chatPSI, false}, {roomPSI, false}}, {{redPSI, false}}}, Service: true, Unregistered: true,
			Capabilities: &cx.ServerCapabilities{Mandatory: []uint32{7}, Optional: []uint32{9}}},
		{IMPIs: []cx.IMPI{lobby}, Sets: [][]Identity{{{lobbyPSI, false}}}, Service: true, AS: lobbyAS},
	}
}

// Run runs the suite.
func Run(t *testing.T, make Factory) {
	for _, s := range []struct {
		name string
		run  func(*world)
	}{
		{"UserAuthorization", userAuthorization},
		{"MultimediaAuth", multimediaAuth},
		{"Resynchronisation", resynchronisation},
		{"Registration", registration},
		{"Deregistration", deregistration},
		{"SharedIdentity", sharedIdentity},
		{"UnregisteredUser", unregisteredUser},
		{"LocationInfo", locationInfo},
		{"WildcardedIMPU", wildcardedIMPU},
		{"PublicServiceIdentity", publicServiceIdentity},
		{"Reassignment", reassignment},
		{"Restoration", restoration},
		{"MissingElements", missingElements},
		{"Batch", batch},
		{"Crash", crash},
	} {
		t.Run(s.name, func(t *testing.T) {
			subs := subscribers()
			w := &world{Fixture: make(t, subs), t: t, cards: map[cx.IMPI]*card{}}
			for _, s := range subs {
				for _, impi := range s.IMPIs {
					w.cards[impi] = &card{algorithm: aka.NewMilenage(s.K, s.OPc), seen: map[aka.SQN]bool{}}
				}
			}
			s.run(w)
		})
	}
}

// The four operations, from outside of a procedure.

func (w *world) uar(r cx.UserAuthorizationRequest) (a *cx.UserAuthorizationAnswer, err error) {
	w.Run(func(t *shard.Task) { a, err = w.Server.UserAuthorization(t, &r) })
	return a, err
}

func (w *world) sar(r cx.ServerAssignmentRequest) (a *cx.ServerAssignmentAnswer, err error) {
	w.Run(func(t *shard.Task) { a, err = w.Server.ServerAssignment(t, &r) })
	return a, err
}

func (w *world) lir(r cx.LocationInfoRequest) (a *cx.LocationInfoAnswer, err error) {
	w.Run(func(t *shard.Task) { a, err = w.Server.LocationInfo(t, &r) })
	return a, err
}

func (w *world) mar(r cx.MultimediaAuthRequest) (a *cx.MultimediaAuthAnswer, err error) {
	w.Run(func(t *shard.Task) { a, err = w.Server.MultimediaAuth(t, &r) })
	return a, err
}

// Usual requests.

func authorize(impi cx.IMPI, impu cx.IMPU) cx.UserAuthorizationRequest {
	return cx.UserAuthorizationRequest{IMPI: impi, IMPU: impu, VisitedNetworkID: Home}
}

func assign(kind cx.ServerAssignmentType, impi cx.IMPI, impus ...cx.IMPU) cx.ServerAssignmentRequest {
	return cx.ServerAssignmentRequest{IMPI: impi, IMPUs: impus, ServerName: scscf, Type: kind}
}

func challenge(impi cx.IMPI, impu cx.IMPU) cx.MultimediaAuthRequest {
	return cx.MultimediaAuthRequest{IMPI: impi, IMPU: impu, ServerName: scscf, Scheme: cx.SchemeDigestAKA, Items: 1}
}

// Expectations.

func (w *world) wantError(what string, err error, want *cx.ResultError) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (w *world) wantUAR(what string, r cx.UserAuthorizationRequest, result cx.Result, server string) {
	w.t.Helper()
	a, err := w.uar(r)
	if err != nil || a.Result != result || a.ServerName != server {
		w.t.Errorf("%s: %+v, %v; want %v from %q", what, a, err, result, server)
	}
}

func (w *world) wantUARError(what string, r cx.UserAuthorizationRequest, want *cx.ResultError) {
	w.t.Helper()
	a, err := w.uar(r)
	w.wantError(what, err, want)
	if a != nil {
		w.t.Errorf("%s: answer %+v with an error", what, a)
	}
}

func (w *world) wantSAR(what string, r cx.ServerAssignmentRequest, result cx.Result) *cx.ServerAssignmentAnswer {
	w.t.Helper()
	a, err := w.sar(r)
	if err != nil || a.Result != result {
		w.t.Fatalf("%s: %+v, %v; want %v", what, a, err, result)
	}
	return a
}

func (w *world) wantLIR(what string, r cx.LocationInfoRequest, result cx.Result, server string) {
	w.t.Helper()
	a, err := w.lir(r)
	if err != nil || a.Result != result || a.ServerName != server {
		w.t.Errorf("%s: %+v, %v; want %v from %q", what, a, err, result, server)
	}
}

func (w *world) wantLIRError(what string, r cx.LocationInfoRequest, want *cx.ResultError) {
	w.t.Helper()
	_, err := w.lir(r)
	w.wantError(what, err, want)
}

// wantVectors asks for vectors and lets the card judge them: authentic, fresh, in order, never seen before.
func (w *world) wantVectors(what string, r cx.MultimediaAuthRequest) []cx.AuthDataItem {
	w.t.Helper()
	a, err := w.mar(r)
	if err != nil || a.Result != cx.ResultSuccess || len(a.Items) == 0 || a.IMPI != r.IMPI || a.IMPU != r.IMPU {
		w.t.Fatalf("%s: %+v, %v", what, a, err)
	}
	c := w.cards[r.IMPI]
	for i := range a.Items {
		v := &a.Items[i].Vector
		o, err := aka.Open(c.algorithm, v.RAND, v.AUTN)
		if err != nil {
			w.t.Fatalf("%s: vector %d: %v", what, i, err)
		}
		if c.seen[o.SQN] {
			w.t.Errorf("%s: sequence number %x was used before", what, o.SQN)
		}
		c.seen[o.SQN] = true
		if err := c.window.Accept(o.SQN); err != nil {
			w.t.Errorf("%s: vector %d with SQN %x: %v", what, i, o.SQN, err)
		}
		if !o.RES.Equal(&v.XRES) || o.CK != v.CK || o.IK != v.IK {
			w.t.Errorf("%s: vector %d has other keys than the card", what, i)
		}
	}
	return a.Items
}

// register takes a user through UAR, MAR and SAR.
func (w *world) register(impi cx.IMPI, impu cx.IMPU) *cx.ServerAssignmentAnswer {
	w.t.Helper()
	if _, err := w.uar(authorize(impi, impu)); err != nil {
		w.t.Fatal(err)
	}
	w.wantVectors("registration", challenge(impi, impu))
	return w.wantSAR("registration", assign(cx.AssignRegistration, impi, impu), cx.ResultSuccess)
}

// identities lists what a profile has, in order.
func identities(p *cx.UserProfile) []Identity {
	var all []Identity
	if p == nil {
		return nil
	}
	for _, s := range p.ServiceProfiles {
		for _, id := range s.PublicIdentities {
			all = append(all, Identity{id.Identity, id.Barred})
		}
	}
	return all
}

func (w *world) wantProfile(what string, a *cx.ServerAssignmentAnswer, impi cx.IMPI, set []Identity) {
	w.t.Helper()
	if a.Profile == nil {
		w.t.Errorf("%s: no profile", what)
		return
	}
	if a.Profile.IMPI != impi || !slices.Equal(identities(a.Profile), set) {
		w.t.Errorf("%s: profile of %s with %v, want %s with %v", what, a.Profile.IMPI, identities(a.Profile), impi, set)
	}
}
