package scscf

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func fullRegistration() registration {
	return registration{impi: "alice@ims.example", partition: "alice@ims.example", siblings: []string{"alice@ims.example", "alice2@ims.example"},
		epoch: 3, version: 7, reauthAt: 90 * time.Second,
		identities: []identity{{impu: "sip:alice@ims.example"}, {impu: "tel:+1555", barred: true}, {impu: "sip:work@ims.example", set: 1}},
		contacts: []contact{
			{uri: "sip:a@10.0.0.1", params: ";q=0.5", callID: "c1", cseq: 4, until: time.Hour, path: []string{"<sip:t@p;lr>", "<sip:q;lr>"}},
			{uri: "sip:b@10.0.0.2", callID: "c2", cseq: 1, until: time.Minute, instance: "urn:uuid:1", regID: 1<<31 - 1, failed: true, set: 1, gruu: true},
		},
		watchers: []subscription{{callID: "w", localTag: "l", remoteTag: "r", local: "<sip:x>", remote: "<sip:y>", target: "sip:z",
			route: []string{"<sip:p;lr>"}, until: 2 * time.Hour, version: 5, cseq: 6}},
	}
}

// TestRecord: what is written comes back, with its times moved to another clock and back.
func TestRecord(t *testing.T) {
	for name, want := range map[string]registration{"full": fullRegistration(), "empty": {impi: "a"}} {
		const shift = 1_700_000_000 * time.Second
		got, err := decodeRegistration(want.impi, want.encode(nil, shift), shift)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%+v\n%+v", name, err, got, want)
		}
	}
}

// TestRecord_named: a store of before is still read: the private identity stood in the record.
func TestRecord_named(t *testing.T) {
	want := fullRegistration()
	octets := want.encode(nil, 0)
	name := append([]byte{namedFormat, byte(len(want.impi))}, want.impi...)
	got, err := decodeRegistration(want.impi, append(name, octets[1:]...), 0)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\n%+v", err, got, want)
	}
}

// TestRecord_damaged: a record that was cut or has something after it is refused, wherever that is.
func TestRecord_damaged(t *testing.T) {
	whole := fullRegistration()
	octets := whole.encode(nil, 0)
	for n := range octets {
		if _, err := decodeRegistration(whole.impi, octets[:n], 0); err == nil {
			t.Errorf("cut to %d of %d octets: no error", n, len(octets))
		}
	}
	if _, err := decodeRegistration(whole.impi, append(octets, 0), 0); err == nil {
		t.Error("with an octet after its end: no error")
	}
	if _, err := decodeRegistration(whole.impi, []byte{namedFormat - 1}, 0); err == nil {
		t.Error("of another format: no error")
	}
}

func FuzzRecord(f *testing.F) {
	whole := fullRegistration()
	f.Add(whole.encode(nil, 0))
	f.Add([]byte{registrationFormat})
	f.Fuzz(func(t *testing.T, octets []byte) {
		r, err := decodeRegistration(whole.impi, octets, 0)
		if err != nil {
			return
		}
		again, err := decodeRegistration(r.impi, r.encode(nil, 0), 0)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%v\n%+v\n%+v", err, r, again)
		}
	})
}

// FuzzParams: whatever a client writes into a Contact, what is echoed parses to the same parameters again.
func FuzzParams(f *testing.F) {
	for _, s := range []string{`expires=5;+g.x="a;b";q=0.5`, `a="\";";b`, `;;`, `=x;"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, params string) {
		once := appendEchoed(nil, []byte(params))
		if twice := appendEchoed(nil, once); !bytes.Equal(twice, once) {
			t.Errorf("%q becomes %q, and then %q", params, once, twice)
		}
	})
}
