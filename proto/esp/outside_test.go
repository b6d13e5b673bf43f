package esp

import (
	"errors"
	"net/netip"
	"testing"
)

// TestOutside: of an agreement that a kernel carries the engine keeps the book. Nothing is opened or sealed by it, with the agreed keys or with
// none, its SPIs and ports are taken all the same, and they are free after it.
func TestOutside(t *testing.T) {
	r := newRig(t, Transform{NoIntegrity, AESGCM}, false, false)
	r.p.Remove(r.pRef)
	spi, err := r.p.Reserve(r.pG.Local)
	if err != nil {
		t.Fatal(err)
	}
	g := r.pG
	g.Outside, g.Here.SPI = true, spi
	r.ue.Remove(r.ueRef)
	ueSPI, err := r.ue.Reserve(r.ueG.Local)
	if err != nil {
		t.Fatal(err)
	}
	r.ueG.Here.SPI, r.ueG.There.SPI, g.There.SPI = ueSPI, spi, ueSPI
	ref, err := r.p.Install(&g)
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{"the agreed", "no"} {
		if keys == "no" {
			r.ueG.CK, r.ueG.IK = [16]byte{}, [16]byte{}
			r.ue.Remove(r.ueRef)
			if r.ueG.Here.SPI, err = r.ue.Reserve(r.ueG.Local); err != nil {
				t.Fatal(err)
			}
		}
		if r.ueRef, err = r.ue.Install(&r.ueG); err != nil {
			t.Fatal(err)
		}
		before := counts(r.p)
		if _, drop := r.atP(r.up("hello")); drop != DropUnknown || !onlyOne(r.p, before, DropUnknown) {
			t.Errorf("with %s keys: %v", keys, drop)
		}
	}
	if packet, _, err := r.p.SealUDP(nil, ref, Client, []byte("hello")); !errors.Is(err, ErrTransform) || len(packet) > 0 {
		t.Errorf("sealed %d octets, %v", len(packet), err)
	}
	at, _, found := r.p.Find(netip.AddrPortFrom(g.Local, g.Here.Port[Server]), netip.AddrPortFrom(g.Peer, g.There.Port[Client]))
	if !found || at != ref {
		t.Error("its ports are not in the book")
	}
	if path, ok := r.p.Path(ref, Client); !ok || path.Owner != g.Owner || path.InUDP {
		t.Errorf("%+v", path)
	}
	r.p.Remove(ref)
	if _, err := r.p.Install(&g); !errors.Is(err, ErrSPI) {
		t.Errorf("%v: its SPIs were to be drawn anew", err)
	}
	if len(r.p.spis) != 0 || len(r.p.flows) != 0 {
		t.Errorf("%d SPIs and %d pairs of ports are left", len(r.p.spis), len(r.p.flows))
	}
}
