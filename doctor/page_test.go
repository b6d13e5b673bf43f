package doctor

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the reference in docs/doctor.md")

const (
	page = "../docs/doctor.md"
	// What stands below this line is made of the table of codes; what stands above is written by hand.
	generated = "<!-- made by go test ./doctor -run TestPage -update; do not edit below -->\n"
)

// TestPage compares the page with the table; with -update it writes it.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	byHand, reference, found := strings.Cut(string(text), generated)
	if !found {
		t.Fatalf("%s has lost the line %q", page, generated)
	}
	if *update {
		if err := os.WriteFile(page, []byte(byHand+generated+Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if reference != Reference() {
		t.Errorf("%s is stale: go test ./doctor -run TestPage -update", page)
	}
}

// TestCodes: each says what, why and what to do.
func TestCodes(t *testing.T) {
	for _, c := range Codes() {
		e, _ := Explain(c)
		if !strings.HasPrefix(string(c), "D-") || strings.ToUpper(string(c)) != string(c) {
			t.Errorf("%s is no code", c)
		}
		if e.Looks == "" || (e.Why == "" || e.Do == "") && c != UserRegistered {
			t.Errorf("%s is not explained", c)
		}
		if strings.HasSuffix(e.Why, ".") || strings.HasSuffix(e.Do, ".") || !strings.HasSuffix(e.Looks, ".") {
			t.Errorf("%s: Looks is a sentence, Why and Do are parts of one", c)
		}
	}
	if _, known := Explain("D-NOTHING"); known {
		t.Error("a code that is not there is explained")
	}
}
