package hss

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"imsafe/refpoint/cx/cxtest"
)

func line(n int, opc string) string {
	return fmt.Sprintf(`{"impi":"0010100000%05d@%s","k":"%032x","opc":"%s","public":[{"impu":"sip:u%d@%s"}]}`+"\n",
		n, cxtest.Home, n+0x1000, opc, n, cxtest.Home)
}

func opcOf(n int) string { return fmt.Sprintf("%032x", n+0x2000000) }

func TestImport(t *testing.T) {
	h := newHouse(t)
	var file strings.Builder
	for n := range 600 { // more than wait for the disk at once
		file.WriteString(line(n, opcOf(n)))
	}
	report, err := h.Import(background, strings.NewReader(file.String()), true, nil)
	if err != nil || report != (ImportReport{Subscribers: 600, DryRun: true}) {
		t.Fatalf("dry run: %+v, %v", report, err)
	}
	if page, _, err := h.List(background, "", 10); err != nil || len(page) != 0 {
		t.Fatalf("a dry run added %d, %v", len(page), err)
	}
	report, err = h.Import(background, strings.NewReader(file.String()), false, nil)
	if err != nil || report.Added != 600 {
		t.Fatalf("%+v, %v", report, err)
	}
	if _, err := h.Show("sip:u599@" + cxtest.Home); err != nil {
		t.Error(err)
	}
	_, err = h.Import(background, strings.NewReader(line(7, opcOf(7))), false, nil)
	h.wantMistake("somebody who is there already", err, "impi")
}

func TestImportMistakes(t *testing.T) {
	h := newHouse(t)
	for what, c := range map[string]struct{ file, field, text string }{
		"not JSON":               {"hello", "json", "line 1"},
		"an unknown field":       {`{"imsi_":"1"}`, "json", "imsi_"},
		"a number for a string":  {`{"impi":"a","k":123}`, "json", "string in quotes"},
		"two objects in a line":  {strings.TrimSpace(line(1, opcOf(1))) + "{}", "json", "follows"},
		"cut off":                {line(1, opcOf(1))[:40], "json", "not JSON"},
		"twice in the file":      {line(1, opcOf(1)) + line(1, opcOf(1)), "impi", "line 2"},
		"OP in the column OPc":   {line(1, opcOf(1)) + line(2, opcOf(1)), "opc", "this is OP"},
		"a mistake in line 3":    {line(1, opcOf(1)) + "\n" + line(2, "12"), "opc", "line 3"},
		"a mistake in two lines": {line(1, "12") + line(2, "12"), "opc", "line 2"},
	} {
		report, err := h.Import(background, strings.NewReader(c.file), false, nil)
		h.wantMistake(what, err, c.field)
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", what, err, c.text)
		}
		if report.Added != 0 {
			t.Errorf("%s: %d added", what, report.Added)
		}
	}
	if page, _, err := h.List(background, "", 10); err != nil || len(page) != 0 {
		t.Errorf("something was added: %v, %v", page, err)
	}
	if _, err := h.Import(background, strings.NewReader(strings.Repeat(" ", maxImportLine+1)), false, nil); err == nil {
		t.Error("a line without end")
	}
	broken := errors.New("pipe closed")
	if _, err := h.Import(background, failing{broken}, false, nil); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func (f failing) Seek(int64, int) (int64, error) { return 0, f.err }
