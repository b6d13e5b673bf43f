package sip

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
)

// asked is what the views that keep what they read say of a message; fresh is the same, read from the octets.
func asked(m *Message) []any {
	via, viaErr := m.TopVia()
	to, toErr := m.To()
	identity, ok := m.ToIdentity()
	credentials, credentialsErr := m.Credentials(0)
	contact, contactErr := m.Contact(0)
	username, usernameErr := m.Username()
	return []any{username, usernameErr, via, viaErr, to, toErr, identity, ok, credentials, credentialsErr, contact, contactErr, EmergencyContact(m)}
}

func fresh(m *Message) []any {
	missing := func(h HeaderID, err error) error {
		if !m.Has(h) {
			return ErrMissing
		}
		return err
	}
	via, viaErr := ParseVia(m.Get(HdrVia))
	to, toErr := ParseNameAddr(m.Get(HdrTo))
	identity, ok := publicIdentity(to.URI)
	credentials, credentialsErr := ParseCredentials(m.Get(HdrAuthorization))
	contact, contactErr := ParseNameAddr(m.Get(HdrContact))
	emergency := m.Has(HdrContact)
	for v := range m.Values(HdrContact) {
		n, err := ParseNameAddr(v)
		emergency = emergency && err == nil && EmergencyURI(n.URI)
	}
	return []any{string(credentials.Username), missing(HdrAuthorization, credentialsErr), via, missing(HdrVia, viaErr), to, missing(HdrTo, toErr), identity, ok, credentials, missing(HdrAuthorization, credentialsErr),
		contact, missing(HdrContact, contactErr), emergency}
}

// agree asks twice: the second time what was kept answers.
func agree(t *testing.T, when string, m *Message) {
	t.Helper()
	for range 2 {
		got, want := asked(m), fresh(m)
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%s, %d: %+v, not %+v", when, i, got[i], want[i])
			}
		}
	}
}

const readingRegister = "REGISTER sip:ims.test SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKa;rport;received=[2001:db8::2];maddr=192.0.2.1\r\n" +
	"Max-Forwards: 70\r\nFrom: <sip:a@ims.test>;tag=1\r\nTo: \"A \\\"B\" <sip:%61@IMS.test;x=y>;z\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n" +
	"Contact: <sip:a@192.0.2.1;sos>;expires=7;+g.x=\"a;b\"\r\n" +
	"Authorization: Digest username=\"a@ims.test\", realm=\"\",nonce=\"n\" ,uri=\"sip:ims.test\",response=\"\",algorithm=MD5,nc=1,x=\"y\"\r\nContent-Length: 0\r\n\r\n"

// TestReadings_follow_every_edit: what was read answers for the octets that it was read from and for no others, in the message and in its clones.
func TestReadings_follow_every_edit(t *testing.T) {
	p := testPool()
	m, err := p.Parse([]byte(readingRegister))
	if err != nil {
		t.Fatal(err)
	}
	if r := Validate(m); r != nil {
		t.Fatal(r)
	}
	agree(t, "parsed", m)
	if seconds, ok := m.ContactExpires(0); seconds != 7 || !ok {
		t.Errorf("expires %d, %v", seconds, ok)
	}
	early := m.Clone()
	for i, edit := range []func(*Message){
		func(m *Message) { _ = m.SetReceived("192.0.2.9", 5061) },
		func(m *Message) { m.PrependString(HdrVia, "SIP/2.0/TLS proxy.test;branch=z9hG4bKb") },
		func(m *Message) { m.RemoveFirst(HdrVia) },
		func(m *Message) { m.SetToTag("t") },
		func(m *Message) { m.SetString(HdrTo, "<tel:+1-2;phone-context=x>") },
		func(m *Message) { m.SetString(HdrTo, "<urn:service:sos>") },
		func(m *Message) { m.SetString(HdrAuthorization, `Digest username="b"`) },
		func(m *Message) { m.SetString(HdrAuthorization, `Basic b`) },
		func(m *Message) { m.Remove(HdrAuthorization) },
		func(m *Message) { m.PrependString(HdrContact, "sip:b@192.0.2.2;expires=9") },
		func(m *Message) { m.SetString(HdrContact, "*") },
		func(m *Message) { m.Remove(HdrContact) },
	} {
		edit(m)
		c := m.Clone()
		agree(t, fmt.Sprint("edit ", i), m)
		late := m.Clone()
		m.Release()
		agree(t, fmt.Sprint("cloned before reading, ", i), c)
		agree(t, fmt.Sprint("cloned after, ", i), late)
		late.Release()
		m = c
	}
	m.Release()
	agree(t, "the first clone", early)
	early.Release()
}

// TestReadings_of_a_used_message: a message that comes back from the pool remembers nothing.
func TestReadings_of_a_used_message(t *testing.T) {
	p := NewPool(Limits{})
	for i := range 3 {
		m, err := p.Parse(fmt.Appendf(nil, "REGISTER sip:a SIP/2.0\r\nTo: <sip:user%d@ims.test>\r\n\r\n", i))
		if err != nil {
			t.Fatal(err)
		}
		if identity, _ := m.ToIdentity(); identity != fmt.Sprintf("sip:user%d@ims.test", i) {
			t.Errorf("message %d is of %s", i, identity)
		}
		m.Release()
	}
}

// TestReadings_at_the_same_time: readers need no lock.
func TestReadings_at_the_same_time(t *testing.T) {
	p := testPool()
	for range 20 {
		m, err := p.Parse([]byte(readingRegister))
		if err != nil {
			t.Fatal(err)
		}
		want := fresh(m)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for range 10 {
					if got := asked(m); !reflect.DeepEqual(got, want) {
						t.Errorf("%+v, not %+v", got, want)
					}
					m.Clone().Release()
				}
			})
		}
		readers.Wait()
		m.Release()
	}
}

// FuzzReadings: whatever the octets, what was kept is what the octets say.
func FuzzReadings(f *testing.F) {
	seeds(f, func(data []byte) { f.Add(data) })
	f.Add([]byte(readingRegister))
	p := testPool()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := p.Parse(data)
		if err != nil {
			return
		}
		defer m.Release()
		_ = Validate(m)
		agree(t, "parsed", m)
		c := m.Clone()
		defer c.Release()
		agree(t, "cloned", c)
	})
}
