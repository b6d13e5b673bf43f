package iqtest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// Fake is an anchor without sockets: it keeps what it was told, for tests to look at. Safe for concurrent use.
type Fake struct {
	PerUser int   // sessions of a user; 0 sets no bound
	Refuse  error // what Reserve answers, if not nil

	mu       sync.Mutex
	random   *rand.ChaCha8
	free     int
	next     uint16
	last     iq.Session
	sessions map[iq.Session]*fakeSession
	keys     map[sdp.Crypto]bool
	begun    int
}

type fakeSession struct {
	user    string
	streams []*FakeStream
}

// FakeStream is what the fake knows of a stream.
type FakeStream struct {
	Medium  iq.Medium
	Ends    [2]iq.End
	Access  iq.Remote
	Core    map[iq.Branch]iq.Remote
	Heard   iq.Branch // the branch that is heard
	Open    [2]bool
	renewed int // ends that are still held
}

var _ iq.Gateway = (*Fake)(nil)

// NewFake makes one with so many pairs of ports.
func NewFake(pairs int) *Fake {
	return &Fake{free: pairs, random: rand.NewChaCha8([32]byte{7}), next: 20000, sessions: map[iq.Session]*fakeSession{}, keys: map[sdp.Crypto]bool{}}
}

// Free is how many pairs of ports are left.
func (f *Fake) Free() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.free
}

// Begun is how many sessions there were.
func (f *Fake) Begun() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

// Streams returns copies of all streams, by session in the order of their beginning.
func (f *Fake) Streams() (all []FakeStream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := iq.Session(1); id <= f.last; id++ {
		if s := f.sessions[id]; s != nil {
			for _, st := range s.streams {
				all = append(all, *st)
			}
		}
	}
	return all
}

// Sessions returns the names of all sessions.
func (f *Fake) Sessions() (all []iq.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.sessions {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// end makes an end. f.mu is held.
func (f *Fake) end(m iq.Medium, side iq.Side) (iq.End, error) {
	if m.Families[side] == iq.IPv6 {
		return iq.End{}, iq.ErrFamily
	}
	if f.free == 0 {
		return iq.End{}, iq.ErrFull
	}
	f.free--
	f.next += 2
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), f.next)
	e := iq.End{Media: at, Control: at, TLSID: strconv.Itoa(int(f.next)), Fingerprints: []sdp.Fingerprint{sdp.NewFingerprint(binary.BigEndian.AppendUint16(nil, f.next))}}
	if side == iq.Access {
		e.Ufrag, e.Password = "u"+e.TLSID, "a password of the fake "+e.TLSID
	}
	if m.Separate[side] {
		e.Control = netip.AddrPortFrom(at.Addr(), f.next+1)
	}
	for i, suite := range m.Suites {
		if side == iq.Access {
			key, err := sdp.NewCrypto(f.random, uint32(i+1), suite)
			if err != nil {
				return e, err
			}
			e.Crypto = append(e.Crypto, key)
		}
	}
	return e, nil
}

// Reserve implements iq.Gateway.
func (f *Fake) Reserve(id iq.Session, m iq.Medium) (iq.Stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, known := f.sessions[id]
	switch {
	case f.Refuse != nil:
		return iq.Stream{}, f.Refuse
	case id != 0 && !known:
		return iq.Stream{}, iq.ErrGone
	case id == 0 && f.PerUser > 0 && f.holding(m.User) >= f.PerUser:
		return iq.Stream{}, iq.ErrUser
	case known && len(s.streams) == 4:
		return iq.Stream{}, iq.ErrUser
	case f.free < 2:
		return iq.Stream{}, iq.ErrFull
	}
	st := &FakeStream{Medium: m, Core: map[iq.Branch]iq.Remote{}}
	for side := range st.Ends {
		e, err := f.end(m, iq.Side(side))
		if err != nil {
			f.free += side
			return iq.Stream{}, err
		}
		st.Ends[side] = e
	}
	if s == nil {
		f.last++
		f.begun++
		id, s = f.last, &fakeSession{user: m.User}
		f.sessions[id] = s
	}
	s.streams = append(s.streams, st)
	return iq.Stream{Session: id, Number: len(s.streams) - 1, Ends: st.Ends}, nil
}

func (f *Fake) holding(user string) (n int) {
	for _, s := range f.sessions {
		if s.user == user {
			n++
		}
	}
	return n
}

// stream finds one. f.mu is held.
func (f *Fake) stream(id iq.Session, number int) *FakeStream {
	s := f.sessions[id]
	if s == nil || number < 0 || number >= len(s.streams) {
		return nil
	}
	return s.streams[number]
}

// Renew implements iq.Gateway.
func (f *Fake) Renew(id iq.Session, number int, side iq.Side, m iq.Medium) (iq.End, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.stream(id, number)
	if st == nil {
		return iq.End{}, iq.ErrGone
	}
	e, err := f.end(m, side)
	if err != nil {
		return e, err
	}
	shared := side == iq.Access && !st.Ends[side].Media.IsValid()
	st.Ends[side] = e
	if shared {
		return e, nil
	}
	if f.free += st.renewed; st.Access.Media.IsValid() { // one that no far end was told of goes back
		st.renewed = 1
	} else {
		f.free++
		st.renewed = 0
	}
	return e, nil
}

// Configure implements iq.Gateway.
func (f *Fake) Configure(id iq.Session, number int, side iq.Side, b iq.Branch, r iq.Remote) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := f.stream(id, number)
	if st == nil {
		return iq.ErrGone
	}
	if err := f.judgeShared(id, side, number, &r); err != nil {
		return err
	}
	if err := f.judge(id, side, &r); err != nil {
		return err
	}
	if side == iq.Access {
		f.free += st.renewed
		st.renewed = 0
		if own := st.Ends[side].Media.IsValid(); r.Within != 0 && own {
			f.free++
			st.Ends[side] = iq.End{}
		} else if r.Within == 0 && !own {
			return iq.ErrAddress
		}
		st.Access = r
		return nil
	}
	st.Core[b], st.Heard = r, b
	return nil
}

// judgeShared refuses a transport that cannot be shared. f.mu is held.
func (f *Fake) judgeShared(id iq.Session, side iq.Side, number int, r *iq.Remote) error {
	if r.Within == 0 {
		return nil
	}
	carrier := f.stream(id, r.Within-1)
	switch {
	case side == iq.Core, carrier == nil, r.Within-1 == number, !carrier.Access.Media.IsValid(), carrier.Access.Within != 0:
		return iq.ErrAddress
	case carrier.Access.Keying != sdp.DTLSSRTP:
		return iq.ErrKeying
	}
	return nil
}

// judge refuses what every anchor refuses. f.mu is held.
func (f *Fake) judge(id iq.Session, side iq.Side, r *iq.Remote) error {
	if !r.Media.IsValid() || r.Media.Port() == 0 || r.Media.Addr().IsUnspecified() && (side == iq.Core || r.ICE == "") {
		return iq.ErrAddress
	}
	if int(r.Media.Port()) >= 20000 && r.Media.Addr().IsLoopback() {
		return f.judgeOurs(id, side, r)
	}
	switch {
	case r.Keying == sdp.DTLSSRTP && len(r.Fingerprints) > 0 && r.Role != sdp.NoRole, r.Keying == sdp.PlainRTP && side == iq.Access && r.Waived:
		return nil
	case r.Keying == sdp.SDES && side == iq.Access && r.Confidential && !f.keys[r.Peer]:
		f.keys[r.Peer] = true
		return nil
	}
	return iq.ErrKeying
}

func (f *Fake) judgeOurs(id iq.Session, side iq.Side, r *iq.Remote) error {
	for other, s := range f.sessions {
		for _, st := range s.streams {
			if e := &st.Ends[iq.Core]; side == iq.Core && other != id && e.Media == r.Media && slices.Equal(e.Fingerprints, r.Fingerprints) {
				return nil
			}
		}
	}
	return iq.ErrAddress
}

// Through implements iq.Gateway.
func (f *Fake) Through(id iq.Session, number int, from [2]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if st := f.stream(id, number); st != nil {
		st.Open = from
	}
}

// Confirm implements iq.Gateway.
func (f *Fake) Confirm(id iq.Session, b iq.Branch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sessions[id]; s != nil {
		for _, st := range s.streams {
			if r, told := st.Core[b]; told {
				st.Core, st.Heard = map[iq.Branch]iq.Remote{b: r}, b
			}
		}
	}
}

// Release implements iq.Gateway.
func (f *Fake) Release(id iq.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sessions[id]; s != nil {
		for _, st := range s.streams {
			f.free += 1 + st.renewed
			if st.Ends[iq.Access].Media.IsValid() {
				f.free++
			}
		}
		delete(f.sessions, id)
	}
}
