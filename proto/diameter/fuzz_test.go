package diameter

import (
	"bytes"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzMessage: no octets make Check or the views panic or disagree, and what is good survives being copied AVP by AVP.
func FuzzMessage(f *testing.F) {
	f.Add(maa(nil))
	f.Add((&raw{host: alpha}).cer(nil))
	f.Add((&raw{host: alpha}).dwr())
	f.Add([]byte{1, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		bad := m.Check(nil)
		count := 0
		for a := range m.AVPs().All() {
			count += len(a.Data)
			for g := range a.Group().All() {
				count += len(g.Data)
			}
			_, _ = a.Address()
			_, _ = a.Time()
		}
		if count > 2*len(b) {
			t.Fatalf("%d octets of data in %d", count, len(b))
		}
		if bad != nil {
			if m, err := Parse(AppendError(nil, m, Identities{alpha, realm}, *bad)); err != nil || m.Check(nil) != nil && bad.Result != ResultAVPUnsupported {
				t.Fatalf("the refusal of %v is malformed: %v", bad, m.Check(nil))
			}
			return
		}
		w := Begin(nil, m.Header())
		for a := range m.AVPs().All() {
			w.Raw(a.raw)
		}
		again, _ := w.End()
		if n, err := Parse(again); err != nil || n.Check(nil) != nil || len(again) != len(b) {
			t.Fatalf("a good message became bad: %x", again)
		}
	})
}

// FuzzPeer: a stranger, then a known peer, sends octets in three pieces; the node neither panics nor stops serving the next.
func FuzzPeer(f *testing.F) {
	cer, dwr := (&raw{host: alpha}).cer(nil), (&raw{host: alpha}).dwr()
	f.Add(false, cer, uint16(7))
	f.Add(true, dwr, uint16(40))
	f.Add(true, bytes.Join([][]byte{dwr, cer, maa(nil)}, nil), uint16(100))
	f.Fuzz(func(t *testing.T, known bool, octets []byte, cut uint16) {
		synctest.Test(t, func(t *testing.T) {
			w := &network{t: t, nodes: map[string]*house{}}
			h := alone(w, nil)
			defer h.stop()
			r := newRaw(t, w, beta, alpha)
			if known {
				r.open(t)
			}
			go drain(r)
			at := int(cut) % (len(octets) + 1)
			r.write(octets[:at])
			r.write(octets[at:])
			time.Sleep(time.Second)
			r.close()
			h.stillThere(t, w)
		})
	})
}

func drain(r net.Conn) {
	b := make([]byte, 1024)
	for {
		if _, err := r.Read(b); err != nil {
			return
		}
	}
}
