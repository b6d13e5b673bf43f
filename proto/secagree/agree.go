package secagree

import "slices"

// Choice is what the P-CSCF takes.
type Choice struct {
	Suite
	Mode Mode // empty for tls
}

// Choose takes the first suite of the core's own list that the client has, in the first of the modes that goes with it
// (TS 33.203 7.2). The client's preferences and order have no say. modes are what the path allows, best first:
// behind a NAT UDPTunnel alone, else Transport and UDPTunnel. The error is ErrNothingAcceptable, or ErrNoTunnel where
// only the mode was missing and it is UDPTunnel that the path needs.
func Choose(client *List, p Profile, modes ...Mode) (Choice, error) {
	otherMode := false
	for _, s := range p.Suites {
		if s.Mechanism != IPsec3GPP {
			if slices.ContainsFunc(client.Entries, func(e Entry) bool { return e.Mechanism == s.Mechanism }) {
				return Choice{Suite: s}, nil
			}
			continue
		}
		for _, m := range modes {
			for i := range client.Entries {
				e := &client.Entries[i]
				if e.Suite() != s || e.Prot != protESP {
					continue
				}
				if e.Mode == m {
					return Choice{s, m}, nil
				}
				otherMode = true
			}
		}
	}
	if otherMode && !slices.Contains(modes, Transport) {
		return Choice{}, ErrNoTunnel
	}
	return Choice{}, ErrNothingAcceptable
}

// Endpoint is the pair of SPIs and the pair of protected ports that one side announces.
type Endpoint struct {
	SPIC, SPIS   uint32
	PortC, PortS uint16
}

// Endpoint returns what the entry announces.
func (e *Entry) Endpoint() Endpoint { return Endpoint{e.SPIC, e.SPIS, e.PortC, e.PortS} }

// Offer makes a list of the whole profile: the Security-Server of a P-CSCF, or the Security-Client of a client. A
// Security-Server names encryption even if the client offered none: so it is seen when somebody took it out (TS 33.203
// 7.2 note 5). ipsec-3gpp is offered in each of the modes; a P-CSCF gives the one it chose. Preferences fall from 0.9.
func Offer(p Profile, here Endpoint, modes ...Mode) List {
	return List{Entries: AppendOffer(make([]Entry, 0, min(len(p.Suites)*max(len(modes), 1), MaxMechanisms)), p, here, modes...)}
}

// AppendOffer appends the entries of Offer.
func AppendOffer(dst []Entry, p Profile, here Endpoint, modes ...Mode) []Entry {
	before := len(dst)
	for _, s := range p.Suites {
		if s.Mechanism != IPsec3GPP {
			dst = append(dst, Entry{Mechanism: s.Mechanism})
			continue
		}
		for _, m := range modes {
			dst = append(dst, Entry{Mechanism: s.Mechanism, Alg: s.Alg, EAlg: s.EAlg, Prot: protESP, Mode: m,
				SPIC: here.SPIC, SPIS: here.SPIS, PortC: here.PortC, PortS: here.PortS})
		}
	}
	dst = dst[:min(len(dst), before+MaxMechanisms)]
	for i := range dst[before:] {
		e := &dst[before+i]
		e.Q, e.HasQ = uint16(max(900-100*i, 100)), true // one digit for all of them: some clients compare q as strings
	}
	return dst
}

// Select is the client's half: the entry of the Security-Server with the highest preference among those the client offered
// (RFC 3329 2.3.1, TS 33.203 7.3.2.2). Without preferences the first. ErrNotOffered if there is none; ErrReflected
// if the network announces an SPI of the client's own, or equal ports where they cannot be told apart.
func Select(server, offered *List) (Entry, error) {
	best := -1
	for i := range server.Entries {
		s := &server.Entries[i]
		had := slices.ContainsFunc(offered.Entries, func(o Entry) bool {
			return o.Suite() == s.Suite() && o.Prot == s.Prot && o.Mode == s.Mode
		})
		if had && (best < 0 || s.HasQ && s.Q > server.Entries[best].Q) {
			best = i
		}
	}
	if best < 0 {
		return Entry{}, ErrNotOffered
	}
	chosen := server.Entries[best]
	if ours, ok := offered.IPsec(); ok && chosen.Mechanism == IPsec3GPP {
		for _, spi := range []uint32{chosen.SPIC, chosen.SPIS} {
			if spi == ours.SPIC || spi == ours.SPIS {
				return Entry{}, ErrReflected
			}
		}
	}
	return chosen, nil
}

// Agreement is what both sides have said in one procedure, to hold to it what they say later. The zero value agrees with nothing.
type Agreement struct {
	Client Said     // the Security-Client of the first REGISTER, for Confirm alone
	Server []Entry  // of the Security-Server that answered it
	Last   Endpoint // of the client, for Renew alone; zero for tls
}

// Confirm compares the two lists of the first protected REGISTER (SM7) with what was said before (TS 33.203 7.2, Annex
// H). An error, which is a Reason, ends the attempt: its new associations are deleted, older ones stay.
func (a *Agreement) Confirm(client, verify [][]byte) error {
	if !a.Client.verbatim(client) {
		again, err := Parse(client)
		switch {
		case err != nil:
			return err
		case again.Empty():
			return ErrClientMissing
		case !says(again.Entries, a.Client.entries(), false):
			return ErrClientChanged
		}
	}
	return a.Verify(verify)
}

// Verify compares the Security-Verify of any later request with the Security-Server of the last successful
// authentication (RFC 3329 2.3.1, TS 33.203 7.2). The error is a Reason.
func (a *Agreement) Verify(verify [][]byte) error {
	if written(a.Server, verify) {
		return nil
	}
	list, err := Parse(verify)
	switch {
	case err != nil:
		return err
	case list.Empty():
		return ErrVerifyMissing
	case !says(list.Entries, a.Server, true):
		return ErrVerifyChanged
	}
	return nil
}

// Renew checks the first REGISTER of a re-registration, which comes on the old associations and announces new ones:
// Security-Verify is the old Security-Server, Security-Client has new SPIs and a new client port; the server port may
// stay (TS 33.203 7.4, TS 24.229 5.1.1.4). The error is a Reason.
func (a *Agreement) Renew(client, verify [][]byte) error {
	list, err := Parse(client)
	switch {
	case err != nil:
		return err
	case list.Empty():
		return ErrClientMissing
	}
	if err := a.Verify(verify); err != nil {
		return err
	}
	e, ok := list.IPsec()
	if !ok || a.Last == (Endpoint{}) {
		return nil // tls: there is nothing that could be new
	}
	if e.PortC == a.Last.PortC || e.PortC == a.Last.PortS {
		return ErrPortInUse
	}
	for _, spi := range []uint32{e.SPIC, e.SPIS} {
		if spi == a.Last.SPIC || spi == a.Last.SPIS {
			return ErrSPIInUse
		}
	}
	return nil
}
