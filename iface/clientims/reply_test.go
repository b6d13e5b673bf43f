package clientims

import (
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// reaches sends a request of the core to the client of a. The status is 0 for as long as there is no answer.
func (b *bench) reaches(a secure.Association) (status *int) {
	status = new(int)
	m := b.pool.NewRequest(sip.MESSAGE, "sip:alice@198.51.100.1")
	for h, v := range map[sip.HeaderID]string{sip.HdrMaxForwards: "60", sip.HdrFrom: "<sip:bob@ims.example>;tag=b", sip.HdrTo: "<sip:alice@ims.example>",
		sip.HdrCallID: "out", sip.HdrCSeq: "7 MESSAGE"} {
		m.AppendString(h, v)
	}
	b.on(func() {
		b.shard.Start(func(task *shard.Task) {
			r := b.port.door.ports.Table.Originate(task, "pcscf", gm.Name, hop.Inbound{Msg: m, Client: a})
			*status = r.Status()
			r.Msg.Release()
		})
	})
	return status
}

// accepted is the answer to a request as it came.
func accepted(request string) string {
	_, rest, _ := strings.Cut(request, "\r\n")
	return "SIP/2.0 200 OK\r\n" + rest
}

// TestReply_over_another_connection: who has seen a request answers it from a connection of his own, at the same address. With the controls off he is heard.
func TestReply_over_another_connection(t *testing.T) {
	for name, tt := range map[string]struct {
		named int    // refusals of the door; the others are the P-CSCF's
		impi  string // that is registered over the connection
	}{
		"of nobody":          {1, ""},
		"of another client":  {0, "bob@ims.example"},
		"of the same client": {0, "alice@ims.example"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, overTLS)
			a, w := b.register()
			other := b.connect()
			other.peer = addrPort(w.peer.Addr(), 40001)
			if tt.impi != "" {
				b.send(other, "REGISTER")
				if err := b.door.Promote(b.last, gm.Registration{IMPI: tt.impi, IMPUs: []string{"sip:x@ims.example"}, Expires: time.Hour}); err != nil {
					t.Fatal(err)
				}
			}
			status := b.reaches(a)
			b.on(func() { b.port.Packet(other.flow(), []byte(accepted(w.sent[0]))) })
			if may := tt.impi == "alice@ims.example"; (*status == 200) != may {
				t.Errorf("answered %d, want an answer that counts: %v", *status, may)
			}
			if refused, _ := b.gate.Counts(secure.CIAuthorizationProtectedPort); refused != uint64(tt.named) {
				t.Errorf("%d refusals of the door, want %d", refused, tt.named)
			}
			b.on(func() { b.port.Packet(w.flow(), []byte(accepted(w.sent[0]))) })
			if *status != 200 {
				t.Errorf("the client's own answer does not count: %d", *status)
			}
		})
	}
}

// TestReply_outside_associations: in clear nobody answers what went into security associations, nor does another client inside his own; after a renewal the
// client may by either of its sets.
func TestReply_outside_associations(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p, q := b.phone("alice", "198.51.100.7"), b.phone("bob", "198.51.100.8")
	a := p.register()
	q.register()
	status := b.reaches(a)
	answer := accepted(p.got[len(p.got)-1])
	b.on(func() { b.port.Packet(p.flow(), []byte(answer)) })
	if refused, _ := b.gate.Counts(secure.CIAuthorizationProtectedPort); refused != 1 || *status != 0 {
		t.Errorf("in clear: answered %d, %d refusals", *status, refused)
	}
	if q.transmit(0, answer); *status != 0 {
		t.Errorf("by the associations of another: answered %d", *status)
	}
	p.renew()
	if p.transmit(0, answer); *status != 200 {
		t.Errorf("by the associations that came meanwhile: answered %d", *status)
	}
	status = b.reaches(a)
	if p.transmit(1, accepted(p.got[len(p.got)-1])); *status != 200 {
		t.Errorf("by those before: answered %d", *status)
	}
}
