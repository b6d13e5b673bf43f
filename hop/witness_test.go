package hop

import (
	"testing"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// heard notes what it is told.
type heard struct{ last uint64 }

func (h *heard) Sent(*shard.Task, Name, Name, Inbound) uint64     { h.last++; return h.last }
func (h *heard) Answered(_ *shard.Task, _ uint64, _ *sip.Message) {}

// BenchmarkWitness is what being watched costs a hop: without a witness one comparison, and nothing is allocated.
func BenchmarkWitness(b *testing.B) {
	m, err := sip.NewPool(sip.Limits{}).Parse([]byte("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n" +
		"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		b.Fatal(err)
	}
	for name, w := range map[string]Witness{"nobody": nil, "somebody": &heard{}} {
		b.Run(name, func(b *testing.B) {
			x := &Exchange{table: &Table{witness: w}}
			b.ReportAllocs()
			for b.Loop() {
				x.answers(x.sent("scscf", Inbound{Msg: m}), m)
			}
		})
	}
}

// TestWitness_nobody: a hop that nobody watches allocates nothing for it.
func TestWitness_nobody(t *testing.T) {
	x := &Exchange{table: &Table{}}
	if n := testing.AllocsPerRun(100, func() { x.answers(x.sent("scscf", Inbound{}), nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
