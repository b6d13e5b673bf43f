package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"imsafe/imsbox/hss"
)

// csvKeys are ki and opc of a row.
const csvKeys = testK + "," + testOPc

// TestImport: the same subscribers, in every form a file may have.
func TestImport(t *testing.T) {
	lines := fmt.Sprintf(`{"impi":"262011234567890@%[1]s","k":%[2]q,"opc":%[3]q,"public":[{"impu":"sip:+491511234@%[1]s"},{"impu":"tel:+491511234"}]}`+"\n\n", testDomain, testK, testOPc)
	for name, file := range map[string]string{
		"json lines":                   lines,
		"the columns in their order":   "# cards of May\n8949001,262011234567890," + csvKeys + ",0000,491511234,,,\n",
		"named columns":                "impi,ki,opc,msisdn\n262011234567890@" + testDomain + "," + csvKeys + ",+491511234\n",
		"a spreadsheet's":              "\xef\xbb\xbfIMSI;Ki;OPc;MSISDN\r\n262011234567890;" + testK + ";" + testOPc + ";491511234\r\n",
		"quoted, and given identities": "imsi,ki,opc,impu\n262011234567890,\"" + testK + "\"," + testOPc + ",sip:+491511234@" + testDomain + " tel:+491511234\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			path := d.write("users", file)
			if out := d.do("user", "import", path, "--dry-run"); !strings.Contains(out, "1 subscribers can be added") {
				t.Error(out)
			}
			d.refused(exitFailed, []string{"not found"}, "user", "show", "+491511234")
			if out := d.do("user", "import", path); !strings.Contains(out, "1 of 1 subscribers are added") {
				t.Error(out)
			}
			view := d.shown("+491511234")
			if view.ID != "262011234567890@"+testDomain || view.Sets[0].Default != "sip:+491511234@"+testDomain {
				t.Errorf("%+v", view)
			}
		})
	}
}

// TestImport_mistakes: each is told with its line, and nothing is changed.
func TestImport_mistakes(t *testing.T) {
	d := newDesk(t)
	row := func(user string) string { return user + "@" + testDomain + "," + csvKeys }
	for _, s := range []struct {
		name, file string
		words      []string
	}{
		{"a short key", "impi,ki,opc\n" + row("alice") + "\n\nbob@" + testDomain + ",1234," + testOPc + "\n", []string{"line 4 (bob@", "k: 4 hexadecimal digits"}},
		{"a name that stands twice", "impi,ki,opc\n" + row("alice") + "\n" + row("alice") + "\n", []string{"line 3 (alice@", "stands in line 2 too"}},
		{"a column too many", "impi,ki,opc\n" + row("alice") + ",x\n", []string{"line 2: columns: 4 of them; 3 are needed"}},
		{"an unknown column", "impi,ki,opc,pin\n", []string{`line 1: columns: "pin" is not known`}},
		{"a column twice", "impi,ki,k\n", []string{`line 1: columns: "ki" stands twice`}},
		{"neither IMPI nor IMSI", "impi,ki,opc\n," + csvKeys + "\n", []string{"line 2: impi: neither"}},
		{"an open quote", "impi,ki,opc\n\"alice," + csvKeys + "\n", []string{"csv:"}},
		{"a number that is none", "impi,ki,opc,seq\n" + row("alice") + ",x\n", []string{`line 2: seq: "x" is not a number`}},
		{"JSON with a number for a key", `{"impi":"alice@` + testDomain + `","k":1}` + "\n", []string{"line 1", "in quotes"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			d.refused(exitFailed, append(s.words, "nothing was changed"), "user", "import", d.write("users", s.file))
		})
	}
	d.refused(exitFailed, []string{"is empty: there is no subscriber in it"}, "user", "import", d.write("users", "\xef\xbb\xbf\r\n"))
	d.refused(exitUsage, []string{"--group is not for JSON"}, "user", "import", "--group", "x", d.write("users", "{}"))
	if o := d.call(context.Background(), "impi,ki,opc\n"+row("carol")+"\n", d.configured([]string{"user", "import", "-"})...); o.status != exitDone {
		t.Errorf("from standard input: %+v", o)
	}
}

// TestImport_through_a_node is many at once.
func TestImport_through_a_node(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	defer stop()
	const many = 2500 // more than a page of the list
	var file strings.Builder
	file.WriteString("impi,ki,opc\n")
	for i := range many {
		fmt.Fprintf(&file, "user%04d@%s,%s,%032x\n", i, testDomain, testK, i+1)
	}
	if out := d.do("user", "import", d.write("users", file.String())); !strings.Contains(out, fmt.Sprintf("%d of %d", many, many)) {
		t.Error(out)
	}
	if out := d.do("user", "list", "--json"); strings.Count(out, "\n") != many {
		t.Errorf("%d listed", strings.Count(out, "\n"))
	}
	if out := d.do("user", "list", "--limit", "3", "--after", "user0099@"+testDomain); !strings.Contains(out, "user0102@") || strings.Contains(out, "user0103@") {
		t.Error(out)
	}
}

// TestPublicIdentities: what a row says and what follows from it (TS 23.003 13.4B).
func TestPublicIdentities(t *testing.T) {
	const imsi, number = "262011234567890", "491511234"
	temporary := "sip:" + imsi + "@" + testDomain
	for name, row := range map[string]struct {
		impi, impu, msisdn string
		want               []hss.Public
	}{
		"nothing but the IMSI":       {"", "", "", []hss.Public{{IMPU: temporary}}},
		"a number":                   {"", "", number, []hss.Public{{IMPU: "sip:+" + number + "@" + testDomain}, {IMPU: "tel:+" + number}, {IMPU: temporary, Barred: true}}},
		"an ISIM with a name":        {"alice@" + testDomain, "sip:alice@" + testDomain, "", []hss.Public{{IMPU: "sip:alice@" + testDomain}}},
		"an ISIM with only its IMPI": {"alice@" + testDomain, "", "", []hss.Public{{IMPU: "sip:alice@" + testDomain}}},
		"a name and a number":        {"alice@" + testDomain, "sip:alice@" + testDomain, "+" + number, []hss.Public{{IMPU: "sip:alice@" + testDomain}, {IMPU: "tel:+" + number}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sheet{domain: testDomain}
			got := s.public(&newSubscriber{IMPI: row.impi, IMSI: imsi}, strings.Fields(row.impu), row.msisdn, "")
			if fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}

// TestCSV_scheme: a card that names no scheme gets that of the network's only access, or none that the HSS would not choose itself; a password is no card.
func TestCSV_scheme(t *testing.T) {
	const rows = "impi,ki,opc,scheme,password\na@b.c," + csvKeys + ",,\nd@b.c," + csvKeys + ",AKAv2-MD5,\ne@b.c,,,,a password of somebody\n"
	lines, mistakes := csvToLines([]byte(rows), testDomain, "AKAv1-MD5", "")
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	for i, want := range []string{"AKAv1-MD5", "AKAv2-MD5", ""} {
		var s newSubscriber
		if err := json.Unmarshal([]byte(strings.Split(lines, "\n")[i+1]), &s); err != nil || s.Scheme != want {
			t.Errorf("row %d: %q, want %q: %v", i, s.Scheme, want, err)
		}
	}
}

// FuzzCSV: any file gives mistakes or lines; a line is JSON and stands where its row stood.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("impi,ki,opc\na@b.c," + csvKeys + "\n"))
	f.Add([]byte("\n\n1,2,3,4,5,6,7,8,9\n\n# x\n\"a\n\";2;3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, mistakes := csvToLines(data, testDomain, "AKAv1-MD5", "")
		if strings.Count(lines, "\n") > bytes.Count(data, []byte("\n"))+1 {
			t.Errorf("%d lines of %d", strings.Count(lines, "\n"), bytes.Count(data, []byte("\n")))
		}
		for line := range strings.Lines(lines) {
			if line != "\n" && !json.Valid([]byte(line)) {
				t.Errorf("%q", line)
			}
		}
		for _, m := range mistakes {
			if m.Problem == "" || m.Subject == "line 0" {
				t.Errorf("%+v", m)
			}
		}
	})
}
