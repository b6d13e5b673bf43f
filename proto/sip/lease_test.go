package sip

import (
	"bytes"
	"sync"
	"testing"
	"unsafe"
)

func TestUseAfterRelease(t *testing.T) {
	uses := map[string]func(m *Message){
		"Get":        func(m *Message) { m.Get(HdrTo) },
		"Body":       func(m *Message) { m.Body() },
		"AppendTo":   func(m *Message) { m.AppendTo(nil) },
		"Set":        func(m *Message) { m.SetString(HdrTo, "x") },
		"Remove":     func(m *Message) { m.Remove(HdrTo) },
		"RemoveName": func(m *Message) { m.RemoveName("X") },
		"Clone":      func(m *Message) { m.Clone() },
		"Retain":     func(m *Message) { m.Retain() },
		"Release":    func(m *Message) { m.Release() },
		"Validate":   func(m *Message) { Validate(m) },
		"Values": func(m *Message) {
			for range m.Values(HdrTo) {
			}
		},
		"NewResponse": func(m *Message) { m.Pool().NewResponse(m, 200, "") },
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			p := testPool()
			m, err := p.Parse([]byte(small))
			if err != nil {
				t.Fatal(err)
			}
			view := m.Get(HdrTo)
			m.Release()
			if bytes.Contains(view, []byte("bob")) {
				t.Errorf("a view survived: %q", view)
			}
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			use(m)
		})
	}
}

func TestLeases(t *testing.T) {
	p := testPool()
	m, err := p.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	c := m.Clone()
	m.Retain().Release()
	if string(m.Get(HdrCallID)) != "c1" {
		t.Error("lost with a lease left")
	}
	m.Release()
	if got := wire(c); got != smallOut { // the slab lives as long as the clone
		t.Errorf("got\n%s", got)
	}
	c.Release()
	if p.Live() != 0 {
		t.Errorf("%d live", p.Live())
	}
	(*Message)(nil).Release()
}

func TestDoubleReleaseIsCounted(t *testing.T) {
	if raceEnabled {
		t.Skip("panics under the race detector")
	}
	p := NewPool(Limits{})
	m, err := p.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	m.Release()
	m.Release()
	if p.DoubleReleases() != 1 {
		t.Errorf("%d counted", p.DoubleReleases())
	}
}

// TestNoLeakBetweenMessages: a message from the pool shows nothing of the one before it.
func TestNoLeakBetweenMessages(t *testing.T) {
	p := NewPool(Limits{})
	for range 100 {
		m, err := p.Parse([]byte(inviteMessage))
		if err != nil {
			t.Fatal(err)
		}
		m.SetString(HdrPAssertedIdentity, "<sip:secret@example.org>")
		m.SetName("X-Secret", []byte("secret"))
		m.Release()
		m = p.NewRequest(OPTIONS, "sip:a")
		if got := wire(m); got != "OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n" {
			t.Fatalf("got\n%s", got)
		}
		m.Release()
	}
}

// TestConcurrentUse parses, clones and releases from many goroutines; the race detector looks on.
func TestConcurrentUse(t *testing.T) {
	p := testPool()
	shared, err := p.Parse([]byte(inviteMessage))
	if err != nil {
		t.Fatal(err)
	}
	want := wire(shared)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				c := shared.Clone()
				c.PrependString(HdrVia, "SIP/2.0/UDP x")
				c.RemoveFirst(HdrVia)
				if got := wire(c); got != want {
					t.Errorf("got\n%s", got)
				}
				c.Release()
				r := p.NewResponse(shared, 200, "")
				r.Release()
				m, err := p.Parse([]byte(registerMessage))
				if err != nil {
					t.Error(err)
					return
				}
				m.Release()
			}
		})
	}
	wg.Wait()
	shared.Release()
	if p.Live() != 0 {
		t.Errorf("%d live", p.Live())
	}
}

// TestNoAllocations: parse, judge, edit and forward without the heap (performance goal P5).
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and the pool poisons")
	}
	p := NewPool(Limits{})
	dst := make([]byte, 0, 8192)
	for _, msg := range benchMessages {
		work := map[string]func(){
			"parse and forward": func() {
				m, _ := p.Parse(msg.data)
				dst = forward(m, dst[:0])
				m.Release()
			},
			"validate and read": func() {
				m, _ := p.Parse(msg.data)
				if r := Validate(m); r != nil {
					t.Errorf("%s: %+v", msg.name, *r)
				}
				via, _ := m.TopVia()
				from, _ := m.From()
				uri, _ := ParseURI(from.URI)
				dst = uri.AppendAOR(dst[:0])
				seq, _, _ := m.CSeq()
				_, ok := m.ContactExpires(0)
				_, err := ParseCredentials(m.Get(HdrAuthorization))
				_, _, _, _ = via, seq, ok, err
				for v := range m.Values(HdrSupported) {
					dst = append(dst, v...)
				}
				for name := range m.Fields() {
					dst = append(dst, name...)
				}
				_ = m.GetName("X-Vendor-Extra")
				m.Release()
			},
			"answer": func() {
				m, _ := p.Parse(msg.data)
				r := p.NewResponse(m, 401, "")
				r.SetToTag("abc")
				r.AppendString(HdrWWWAuthenticate, "Digest realm=\"a\"")
				dst = r.AppendTo(dst[:0])
				r.Release()
				m.Release()
			},
			"fork": func() {
				m, _ := p.Parse(msg.data)
				c := m.Clone()
				dst = forward(c, dst[:0])
				c.Release()
				m.Release()
			},
			"refuse": func() {
				if _, err := p.Parse(msg.data[:len(msg.data)/3]); err == nil {
					t.Error("a third of a message passed")
				}
			},
		}
		for name, fn := range work {
			fn()
			if n := testing.AllocsPerRun(200, fn); n != 0 {
				t.Errorf("%s, %s: %v allocations", msg.name, name, n)
			}
		}
	}
}

// TestIdleMemory holds what one idle message costs beside its slab.
func TestIdleMemory(t *testing.T) {
	size := unsafe.Sizeof(Message{})
	t.Logf("Message %d octets, index entry %d", size, unsafe.Sizeof(field{})+1)
	if size > 1024 { // a size class of the allocator; 240 of them are what the views have read
		t.Errorf("Message has grown to %d octets", size)
	}
}
