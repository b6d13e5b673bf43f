package scscf

import (
	"fmt"
	"testing"
	"time"
)

func TestReadNamedCall(t *testing.T) {
	for value, want := range map[string]string{ // the first three are those of RFC 3891 6.1
		"98732@sip.example.com\r\n ;from-tag=r33th4x0r\r\n ;to-tag=ff87ff": "98732@sip.example.com ff87ff r33th4x0r",
		"12adf2f34456gs5;to-tag=12345;from-tag=54321;early-only":           "12adf2f34456gs5 12345 54321",
		"87134@171.161.34.23;to-tag=24796;from-tag=0":                      "87134@171.161.34.23 24796 0",
		"a ; TO-TAG = 1 ; From-Tag = 2":                                    "a 1 2",
		"a;to-tag=1":                                                       "",
		"a;from-tag=1":                                                     "",
		"a;to-tag=1;from-tag=2;to-tag=3":                                   "",
		"a;to-tag=;from-tag=2":                                             "",
		";to-tag=1;from-tag=2":                                             "",
		"a":                                                                "",
		"":                                                                 "",
	} {
		c, sound := readNamedCall([]byte(value))
		got := ""
		if sound {
			got = fmt.Sprintf("%s %s %s", c.callID, c.tag, c.other)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func FuzzReadNamedCall(f *testing.F) {
	for _, v := range []string{"a;to-tag=1;from-tag=2", ";;=", "a;to-tag;from-tag=1", "a;early-only"} {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if c, sound := readNamedCall(value); sound && (len(c.callID) == 0 || len(c.tag) == 0 || len(c.other) == 0) {
			t.Errorf("%q: %q", value, c)
		}
	})
}

// TestTransfers_bounded: of too many rights the oldest is gone, and time ends all.
func TestTransfers_bounded(t *testing.T) {
	all := newTransfers()
	call := func(n int) *namedCall { return &namedCall{fmt.Append(nil, n), []byte("1"), []byte("2")} }
	for n := range maxTransfers + 1 {
		all.note(call(n), "bob", time.Second)
	}
	if all.allow(call(0), "bob", time.Second) || !all.allow(call(1), "bob", time.Second) || len(all.until) != maxTransfers {
		t.Errorf("%d are kept", len(all.until))
	}
	if !all.allow(&namedCall{[]byte("1"), []byte("2"), []byte("1")}, "bob", time.Second) {
		t.Error("the name of a call has an order")
	}
	if all.allow(call(1), "dave", time.Second) || all.allow(call(1), "", time.Second) || all.allow(call(1), "bob", time.Second+transferLife) {
		t.Error("a right is another's, nobody's, or without end")
	}
	all.note(call(1), "", time.Second)
	all.note(call(1), "bob", time.Minute)
	if len(all.until) != 1 || len(all.order) != 1 {
		t.Errorf("%d and %d are kept of what is over", len(all.until), len(all.order))
	}
}
