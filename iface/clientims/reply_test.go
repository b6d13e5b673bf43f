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

// TestReply_over_another_connection: a telephone may answer by a connection that it makes for it, from where it is. By that of another client, or from elsewhere, nobody
// answers.
func TestReply_over_another_connection(t *testing.T) {
	for name, tt := range map[string]struct {
		impi      string // that is registered over the connection
		elsewhere bool
		may       bool
	}{
		"of nobody":               {"", false, true},
		"of nobody and elsewhere": {"", true, false},
		"of another client":       {"bob@ims.example", false, false},
		"of the same client":      {"alice@ims.example", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, overTLS)
			a, w := b.register()
			other := b.connect()
			other.peer = addrPort(w.peer.Addr(), 40001)
			if tt.elsewhere {
				other.peer = addrPort(w.peer.Addr().Next(), 40001)
			}
			if tt.impi != "" {
				b.send(other, "REGISTER")
				if err := b.door.Promote(b.last, gm.Registration{IMPI: tt.impi, IMPUs: []string{"sip:x@ims.example"}, Expires: time.Hour}); err != nil {
					t.Fatal(err)
				}
			}
			status := b.reaches(a)
			b.on(func() { b.port.Packet(other.flow(), []byte(accepted(w.sent[0]))) })
			if (*status == 200) != tt.may {
				t.Errorf("answered %d, want an answer that counts: %v", *status, tt.may)
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
