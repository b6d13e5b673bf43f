package xfrm

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/esp"
)

func TestInstall(t *testing.T) {
	r := newRig(t)
	g := r.agreement(1, 5000)
	ref, err := r.install(g)
	if err != nil {
		t.Fatal(err)
	}
	want := []uint32{1001, 1002, g.Here.SPI[0], g.Here.SPI[1]}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(r.k.stand)); !slices.Equal(got, want) {
		t.Errorf("SPIs %v stand, want %v", got, want)
	}
	for _, a := range r.k.asked {
		if a.tag != Tag || a.life != 60 || !a.keys {
			t.Errorf("%+v", a)
		}
	}
	if at, side, ok := r.Find(netip.AddrPortFrom(pcscfAddr, 6060), netip.AddrPortFrom(ueAddr, 5000)); !ok || at != ref || side != esp.Server {
		t.Error("it is not found by its ports")
	}
	if s, ok := r.Status(ref); !ok || s.Used() {
		t.Errorf("%+v, %v", s, ok)
	}
	r.Remove(ref)
	r.work()
	if len(r.k.stand) != 0 {
		t.Errorf("%v stand after all", r.k.stand)
	}
	if n := r.Traffic(); n.Installed.Load() != 1 || n.Removed.Load() != 1 || n.Refused.Load() != 0 {
		t.Errorf("%d installed, %d removed", n.Installed.Load(), n.Removed.Load())
	}
}

// TestInstall_whole: whichever of the four is refused, none stands, and it is told once.
func TestInstall_whole(t *testing.T) {
	for refused := range perJob {
		r := newRig(t)
		if _, err := r.install(r.agreement(1, 4000)); err != nil {
			t.Fatal(err)
		}
		before := maps.Clone(r.k.stand)
		r.k.refuse[perJob+refused] = syscall.EEXIST
		g := r.agreement(2, 5000)
		g.There.SPI = [2]uint32{2001, 2002}
		ref, err := r.install(g)
		if !errors.Is(err, syscall.EEXIST) || !errors.Is(err, esp.ErrSPI) {
			t.Errorf("number %d: %v", refused, err)
		}
		if !maps.Equal(before, r.k.stand) {
			t.Errorf("number %d was refused, and %v stand, want %v", refused, r.k.stand, before)
		}
		r.Remove(ref) // as its user does
		r.work()
		if !maps.Equal(before, r.k.stand) || r.Len() != 1 {
			t.Errorf("after Remove %v stand", r.k.stand)
		}
	}
}

// TestInstall_broken: where the socket fails nobody knows what stands, so all of it is deleted.
func TestInstall_broken(t *testing.T) {
	r := newRig(t)
	r.k.broken = syscall.ENOBUFS
	if _, err := r.install(r.agreement(1, 5000)); !errors.Is(err, syscall.ENOBUFS) {
		t.Error(err)
	}
	if len(r.k.stand) != 0 {
		t.Errorf("%v stand", r.k.stand)
	}
}

// TestStanding_late asks after the kernel has answered, and about what is not there. Remove calls nobody back: its caller may hold a lock.
func TestStanding_late(t *testing.T) {
	r := newRig(t)
	ref, err := r.Install(r.agreement(1, 5000))
	if err != nil {
		t.Fatal(err)
	}
	r.work()
	var said []error
	tell := func(err error) { said = append(said, err) }
	r.Standing(ref, tell)
	g := r.agreement(2, 6000)
	g.There.SPI = [2]uint32{2001, 2002}
	waits, err := r.Install(g)
	if err != nil {
		t.Fatal(err)
	}
	r.Standing(waits, tell)
	r.Remove(waits) // while it waits
	r.Standing(waits, tell)
	tunnel := r.agreement(3, 7000)
	tunnel.Tunnel = true
	if ref, err = r.Install(tunnel); err != nil {
		t.Fatal(err)
	}
	r.Standing(ref, tell)
	if got := fmt.Sprint(said); got != fmt.Sprint([]error{nil, esp.ErrGone, nil}) {
		t.Error(got)
	}
	asked := len(r.k.asked)
	r.work()
	if got := fmt.Sprint(said[2:]); got != fmt.Sprint([]error{nil, esp.ErrGone}) {
		t.Errorf("who waited was told %v", got)
	}
	if len(r.k.stand) != perJob || len(r.k.asked) != asked+2*perJob {
		t.Errorf("%d stand after %d requests", len(r.k.stand), len(r.k.asked)-asked)
	}
	if r.Carries(ref) {
		t.Error("the kernel carries what is in UDP")
	}
}

// TestExtend: the limit counts from when the association was added, and no key goes to the kernel again.
func TestExtend(t *testing.T) {
	r := newRig(t)
	ref, err := r.install(r.agreement(1, 5000))
	if err != nil {
		t.Fatal(err)
	}
	r.clock.pass(10 * time.Second)
	if !r.Extend(ref, time.Hour) {
		t.Error("it is gone")
	}
	r.work()
	for _, a := range r.k.asked[perJob:] {
		if a.kind != msgUpdSA || a.life != 3610 || a.keys {
			t.Errorf("%+v", a)
		}
	}
	r.clock.pass(59 * time.Minute)
	if !r.Extend(ref, time.Second) { // never shortened
		t.Error("it is gone")
	}
	r.work()
	if last := r.k.asked[len(r.k.asked)-1]; last.life < 3610 {
		t.Errorf("shortened to %d s", last.life)
	}
	if n := r.Traffic(); n.Extended.Load() != 1 {
		t.Errorf("%d extended", n.Extended.Load())
	}
}

// TestExpiry: the book ends what is over, and has the kernel delete it.
func TestExpiry(t *testing.T) {
	r := newRig(t)
	if _, err := r.install(r.agreement(1, 5000)); err != nil {
		t.Fatal(err)
	}
	r.clock.pass(2 * time.Minute)
	r.Cool(1 << 10)
	r.work()
	if len(r.k.stand) != 0 || !slices.Equal(r.told, []esp.Notice{esp.NoticeExpired}) {
		t.Errorf("%v stand, notices %v", r.k.stand, r.told)
	}
}

// TestWord takes the kernel's word of an association: half used up, and ended.
func TestWord(t *testing.T) {
	r := newRig(t)
	g := r.agreement(1, 5000)
	ref, err := r.install(g)
	if err != nil {
		t.Fatal(err)
	}
	sa := make([]byte, sizeExpire)
	native.PutUint16(sa[offsetSAFamily:], familyIPv4)
	for i, a := range setOf(g).all {
		a.putID(sa[offsetSAID:])
		r.ended(sa, false)
		if len(r.told) != i+1 || r.told[i] != esp.NoticeRenew {
			t.Fatalf("notices %v", r.told)
		}
	}
	sa[offsetSAID]++
	r.ended(sa, true) // another's
	if !r.Carries(ref) {
		t.Error("an association of somebody else ended ours")
	}
	sa[offsetSAID]--
	r.ended(sa, true)
	if _, there := r.Status(ref); there || r.told[perJob] != esp.NoticeExpired {
		t.Errorf("notices %v", r.told)
	}
}

// TestQuarantine: ports that somebody has had are nobody else's for a moment, and his own at once.
func TestQuarantine(t *testing.T) {
	r := newRig(t)
	ref, err := r.install(r.agreement(1, 5000))
	if err != nil {
		t.Fatal(err)
	}
	r.Remove(ref)
	other := r.agreement(2, 5000)
	if _, err := r.Install(other); !errors.Is(err, esp.ErrPortsInUse) {
		t.Errorf("%v: what waits in the socket would be somebody else's", err)
	}
	ref, err = r.install(r.agreement(1, 5000))
	if err != nil {
		t.Error(err)
	}
	r.Remove(ref)
	r.clock.pass(quarantine)
	if _, err := r.install(other); err != nil {
		t.Error(err)
	}
}

// TestWrongKeys: packets that did not open are heard of, so that somebody can say why a client is silent.
func TestWrongKeys(t *testing.T) {
	r := newRig(t)
	r.k.sa = make([]byte, sizeSA)
	native.PutUint32(r.k.sa[offsetSAStats+8:], 7)
	ref, err := r.install(r.agreement(1, 5000))
	if err != nil {
		t.Fatal(err)
	}
	r.Cool(1)
	r.work()
	if s, _ := r.Status(ref); s.AuthFailed != 0 {
		t.Error("it was asked at once")
	}
	r.clock.pass(lookAfter)
	r.Cool(1)
	r.work()
	if s, _ := r.Status(ref); s.AuthFailed != 14 || s.Used() {
		t.Errorf("%+v", s)
	}
}

// BenchmarkInstall is what an agreement costs us, without the kernel's share: SPIs, book, keys, four requests, and all of it taken back.
func BenchmarkInstall(b *testing.B) {
	r := newRig(b)
	nothing := &silentKernel{}
	r.w.k = nothing
	b.ReportAllocs()
	for b.Loop() {
		ref, err := r.Install(r.agreement(1, 5000))
		if err != nil {
			b.Fatal(err)
		}
		r.work()
		r.Remove(ref)
		r.work()
	}
}

// silentKernel takes everything.
type silentKernel struct{}

func (*silentKernel) do(_ *message, results []error) error {
	clear(results)
	return nil
}
