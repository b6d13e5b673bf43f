package sip

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// verdict is what an element does with a torture message.
type verdict struct {
	status int // 0 = the message passes, or silence
	silent bool
	parse  error // the parser refuses already
}

var (
	passes = verdict{}
	silent = verdict{silent: true}
)

func answers(status int) verdict { return verdict{status: status} }

// torture is the table of the messages of RFC 4475 (section 3, in order) and RFC 5118 (section 4). Where the RFC leaves a choice the
// comment says which one we took.
var torture = []struct {
	file string
	want verdict
}{
	// 3.1.1 Valid messages
	{"rfc4475/wsinv.dat", passes},
	{"rfc4475/intmeth.dat", passes},
	{"rfc4475/esc01.dat", passes},
	{"rfc4475/escnull.dat", passes},
	{"rfc4475/esc02.dat", passes},
	{"rfc4475/lwsdisp.dat", passes},
	{"rfc4475/longreq.dat", passes},
	{"rfc4475/dblreq.dat", passes},
	{"rfc4475/semiuri.dat", passes},
	{"rfc4475/transports.dat", passes},
	{"rfc4475/mpart01.dat", passes},
	{"rfc4475/unreason.dat", passes},
	{"rfc4475/noreason.dat", passes},
	// 3.1.2 Invalid messages
	{"rfc4475/badinv01.dat", answers(400)},
	{"rfc4475/clerr.dat", answers(400)},
	{"rfc4475/ncl.dat", answers(400)},
	{"rfc4475/scalar02.dat", answers(400)},
	{"rfc4475/scalarlg.dat", silent},
	{"rfc4475/quotbal.dat", answers(400)},
	{"rfc4475/ltgtruri.dat", answers(400)},
	{"rfc4475/lwsruri.dat", answers(400)},
	{"rfc4475/lwsstart.dat", answers(400)}, // the RFC lets a liberal element accept it
	{"rfc4475/trws.dat", answers(400)},     // the same
	{"rfc4475/escruri.dat", answers(400)},  // the same
	{"rfc4475/baddate.dat", passes},        // not to be rejected unless Date matters to the element
	{"rfc4475/regbadct.dat", answers(400)},
	{"rfc4475/badaspec.dat", answers(400)},
	{"rfc4475/baddn.dat", answers(400)},
	{"rfc4475/badvers.dat", answers(505)},
	{"rfc4475/mismatch01.dat", answers(400)},
	{"rfc4475/mismatch02.dat", answers(501)},
	{"rfc4475/bigcode.dat", silent},
	// 3.2 Transaction layer
	{"rfc4475/badbranch.dat", answers(400)},
	// 3.3 Application layer
	{"rfc4475/insuf.dat", answers(400)},
	{"rfc4475/unkscm.dat", answers(416)},
	{"rfc4475/novelsc.dat", answers(416)},
	{"rfc4475/unksm2.dat", passes}, // a registrar answers 400
	{"rfc4475/bext01.dat", passes}, // 420 depends on the role
	{"rfc4475/invut.dat", passes},  // 415 is the endpoint's
	{"rfc4475/regaut01.dat", passes},
	{"rfc4475/multi01.dat", answers(400)},
	{"rfc4475/mcl01.dat", answers(400)},
	{"rfc4475/bcast.dat", silent},
	{"rfc4475/zeromf.dat", passes}, // 483 is the proxy's
	{"rfc4475/cparam01.dat", passes},
	{"rfc4475/cparam02.dat", passes},
	{"rfc4475/regescrt.dat", passes},
	{"rfc4475/sdp01.dat", passes}, // 406 is the endpoint's
	// 3.4 Backward compatibility
	{"rfc4475/inv2543.dat", passes},
	// Stands in the archive but not in the text: no SIP version in the start line.
	{"rfc4475/test.dat", verdict{parse: ErrStartLine}},

	{"rfc5118/ipv6-good", passes},
	{"rfc5118/ipv6-bad", answers(400)},
	{"rfc5118/port-ambiguous", passes},
	{"rfc5118/port-unambiguous", passes},
	{"rfc5118/via-received-param-with-delim", passes},
	{"rfc5118/via-received-param-no-delim", passes},
	{"rfc5118/ipv6-in-sdp", passes},
	{"rfc5118/mult-ip-in-header", passes},
	{"rfc5118/mult-ip-in-sdp", passes},
	{"rfc5118/ipv4-mapped-ipv6", passes},
	{"rfc5118/ipv6-bug-abnf-3-colons", passes}, // tolerated, as the RFC asks
	{"rfc5118/ipv6-correct-abnf-2-colons", passes},
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testPool() *Pool { return NewPool(Limits{Poison: true}) }

func TestTorture(t *testing.T) {
	p := testPool()
	for _, tt := range torture {
		t.Run(strings.TrimSuffix(tt.file, ".dat"), func(t *testing.T) {
			m, err := p.Parse(read(t, tt.file))
			if err != nil || tt.want.parse != nil {
				if err != tt.want.parse {
					t.Fatalf("Parse: %v, want %v", err, tt.want.parse)
				}
				return
			}
			defer m.Release()
			got := passes
			r := Validate(m)
			if r != nil {
				got = verdict{status: r.Status, silent: r.Silent}
			}
			if got != tt.want {
				t.Errorf("got %+v (%v), want %+v", got, r, tt.want)
			}
			if r == nil {
				checkFixedPoint(t, p, m)
			}
		})
	}
}

// TestTortureIsComplete holds the table against the files, so that none is forgotten.
func TestTortureIsComplete(t *testing.T) {
	files := 0
	for _, dir := range []string{"rfc4475", "rfc5118"} {
		entries, err := os.ReadDir(filepath.Join("testdata", dir))
		if err != nil {
			t.Fatal(err)
		}
		files += len(entries)
	}
	if files != len(torture) {
		t.Errorf("%d files, %d rows", files, len(torture))
	}
}

// checkFixedPoint: what we emit parses to the same index and emits the same octets.
func checkFixedPoint(t testing.TB, p *Pool, m *Message) {
	t.Helper()
	out := m.AppendTo(nil)
	if len(out) != m.Size() {
		t.Fatalf("Size %d, AppendTo wrote %d", m.Size(), len(out))
	}
	again, err := p.Parse(out)
	if err != nil {
		t.Fatalf("emission does not parse: %v\n%q", err, out)
	}
	defer again.Release()
	if got := again.AppendTo(nil); !bytes.Equal(got, out) {
		t.Fatalf("emission is no fixed point:\n%q\n%q", out, got)
	}
	if len(m.ids) != len(again.ids) {
		t.Fatalf("%d fields became %d:\n%q", len(m.ids), len(again.ids), out)
	}
	for i := range m.ids {
		if m.ids[i] != again.ids[i] || !bytes.Equal(m.fieldName(i), again.fieldName(i)) || !bytes.Equal(m.value(i), again.value(i)) {
			t.Fatalf("field %d: %q: %q became %q: %q", i, m.fieldName(i), m.value(i), again.fieldName(i), again.value(i))
		}
	}
	if !bytes.Equal(m.Body(), again.Body()) {
		t.Fatalf("body %q became %q", m.Body(), again.Body())
	}
}
