package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Another card, and OP from which its OPc would be made.
const (
	otherK = "0f0e0d0c0b0a09080706050403020100"
	testOP = "cdc202d5123e20f62b6d676ac72cb318"
)

// foreignFile is a file of another server: two subscribers, one with a number.
type foreignFile struct{ name, format, text string }

// foreignFiles are written here after the documented schemas.
func foreignFiles() []foreignFile {
	open5gs := `{"_id":{"$oid":"65f0"},"imsi":"262011234567890","msisdn":["491511234"],"security":{"k":"00112233 44556677 8899AABB CCDDEEFF","opc":"` + testOPc + `","op":null,"amf":"8000","sqn":%s},"slice":[{"sst":1}],"schema_version":1}`
	other := `{"imsi":"262011234567891","msisdn":[],"security":{"k":"` + otherK + `","op":"` + testOP + `","opc":null,"amf":"8000"}}`
	auc := `{"auc_id":1,"ki":"` + testK + `","opc":"` + testOPc + `","amf":"8000","sqn":3232,"imsi":"262011234567890","batch_name":null,"esim":false}`
	auc2 := `{"auc_id":2,"ki":"` + otherK + `","opc":"` + testOP + `","amf":"8000","sqn":0,"imsi":null}`
	subscriber := `{"subscriber_id":7,"imsi":"262011234567891","auc_id":2,"default_apn":1,"apn_list":"1","msisdn":"49111"}`
	ims := `{"ims_subscriber_id":1,"msisdn":"491511234","msisdn_list":"491511234","imsi":"262011234567890","ifc_path":"x.xml"}`
	ims2 := `{"ims_subscriber_id":2,"msisdn":null,"msisdn_list":null,"imsi":"262011234567891"}`
	return []foreignFile{
		{"mongoexport, lines", "open5gs", fmt.Sprintf(open5gs, `{"$numberLong":"3232"}`) + "\n" + other + "\n"},
		{"mongoexport, array", "open5gs", "[" + fmt.Sprintf(open5gs, `3232`) + ",\n" + other + "]"},
		{"user_db.csv", "srsran", "#\n# Name,Auth,...\nue1,mil,262011234567890," + testK + ",opc," + testOPc + ",8000,000000000ca0,9,dynamic\n" +
			"ue2,mil,262011234567891," + otherK + ",op," + testOP + ",8000,000000000000,7,192.0.2.2\n"},
		{"the API of PyHSS", "pyhss", "[" + auc + "," + auc2 + "]\n[" + subscriber + "]\n[" + ims + "," + ims2 + "]"},
		{"CSV of PyHSS", "pyhss", "auc_id,ki,opc,amf,sqn,imsi\n1," + testK + "," + testOPc + ",8000,3232,262011234567890\n2," + otherK + "," + testOP + ",8000,0,262011234567891\n" +
			"ims_subscriber_id,msisdn,msisdn_list,imsi\n1,491511234,491511234,262011234567890\n2,,,262011234567891\n"},
		{"sqlite3 .dump", "pyhss", "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE auc (\n\tauc_id INTEGER NOT NULL, \n\tki VARCHAR(32) NOT NULL, \n\topc VARCHAR(32) NOT NULL, \n\tamf VARCHAR(4) NOT NULL, sqn BIGINT, imsi VARCHAR(18), \n\tPRIMARY KEY (auc_id), \n\tUNIQUE (imsi)\n);\n" +
			"INSERT INTO auc VALUES(1,'" + testK + "','" + testOPc + "','8000',3232,'262011234567890');\nINSERT INTO auc VALUES(2,'" + otherK + "','" + testOP + "','8000',0,'262011234567891');\n" +
			"CREATE TABLE ims_subscriber (ims_subscriber_id INTEGER NOT NULL, msisdn VARCHAR(18), msisdn_list VARCHAR(1200), imsi VARCHAR(18), xcap_profile TEXT, PRIMARY KEY (ims_subscriber_id));\n" +
			"INSERT INTO ims_subscriber VALUES(1,'491511234','491511234','262011234567890','it''s; (a) \"text\"');\nINSERT INTO ims_subscriber VALUES(2,NULL,NULL,'262011234567891',NULL);\nCOMMIT;\n"},
		{"mysqldump", "pyhss", "-- MySQL dump\n/*!40101 SET NAMES utf8 */;\nINSERT INTO `auc` (`auc_id`, `ki`, `opc`, `amf`, `sqn`, `imsi`) VALUES (1,'" + testK + "','" + testOPc + "','8000',3232,'262011234567890'),\n(2,'" + otherK + "','" + testOP + "','8000',0,'262011234567891');\n" +
			"INSERT INTO `ims_subscriber` (`ims_subscriber_id`,`msisdn`,`msisdn_list`,`imsi`,`x`) VALUES (1,'491511234','491511234','262011234567890','a\\'b'),(2,NULL,NULL,'262011234567891',-1.5);\n"},
		{"pg_dump", "pyhss", "SET x = 1;\nCOPY public.auc (auc_id, ki, opc, amf, sqn, imsi) FROM stdin;\n1\t" + testK + "\t" + testOPc + "\t8000\t3232\t262011234567890\n2\t" + otherK + "\t" + testOP + "\t8000\t0\t\\N\n\\.\n\n" +
			"COPY public.subscriber (subscriber_id, imsi, auc_id) FROM stdin;\n7\t262011234567891\t2\n\\.\nCOPY public.ims_subscriber (ims_subscriber_id, msisdn, msisdn_list, imsi) FROM stdin;\n1\t491511234\t491511234\t262011234567890\n2\t\\N\t\\N\t262011234567891\n\\.\n"},
	}
}

// TestImport_from_other_servers: whatever the file, the same two subscribers.
func TestImport_from_other_servers(t *testing.T) {
	for _, f := range foreignFiles() {
		t.Run(f.name, func(t *testing.T) {
			d := newDesk(t)
			o := d.try("user", "import", "--format", f.format, d.write("users", f.text))
			if o.status != exitDone || !strings.Contains(o.stdout, "2 of 2 subscribers are added") {
				t.Fatalf("%+v", o)
			}
			view := d.shown("262011234567890@" + testDomain)
			card := view.Cards[0]
			if card.Scheme != "AKAv1-MD5" || card.AMF != "0000" || card.IMSI != "262011234567890" || card.ReservedSEQ != 3232>>5+1 {
				t.Errorf("card %+v", card)
			}
			number, derived := "", "sip:262011234567890@"+testDomain
			for _, p := range view.Sets[0].Public {
				number += fmt.Sprint(p.IMPU, p.Barred, " ")
			}
			if want := "sip:+491511234@" + testDomain + "false tel:+491511234false " + derived + "true "; f.format != "srsran" && number != want {
				t.Errorf("identities %s, want %s", number, want)
			}
			if other := d.shown("262011234567891@" + testDomain); other.Sets[0].Default != "sip:262011234567891@"+testDomain {
				t.Errorf("%+v", other)
			}
			if !strings.Contains(o.stderr, "have no number") {
				t.Errorf("nothing is said about a missing number: %q", o.stderr)
			}
		})
	}
}

// TestImport_keys_are_taken_as_what_they_are: OPc, and OP of which OPc is made with K.
func TestImport_keys_are_taken_as_what_they_are(t *testing.T) {
	for format, text := range map[string]string{
		"open5gs": `{"imsi":"262011234567890","security":{"k":"%[1]s","opc":null,"op":"%[2]s","amf":"8000","sqn":1}}`,
		"srsran":  "a,mil,262011234567890,%[1]s,op,%[2]s,8000,0,9,dynamic",
	} {
		c := convertForeign(format, fmt.Appendf(nil, text, testK, testOP), testDomain, "staff")
		var sub struct{ K, OP, OPc, Group string }
		if err := json.Unmarshal([]byte(c.lines), &sub); err != nil {
			t.Fatal(err, c.mistakes)
		}
		if sub.K != testK || sub.OP != testOP || sub.OPc != "" || sub.Group != "staff" {
			t.Errorf("%s: OP %t OPc %t group %s", format, sub.OP == testOP, sub.OPc != "", sub.Group)
		}
	}
}

// TestImport_foreign_mistakes: each with the line of the file, and nothing is changed.
func TestImport_foreign_mistakes(t *testing.T) {
	d := newDesk(t)
	good := `{"imsi":"262011234567890","security":{"k":"` + testK + `","opc":"` + testOPc + `"}}`
	for _, s := range []struct {
		name, format, text string
		words              []string
	}{
		{"a short key, in an array of one line", "open5gs", "\n\n[" + good + "," + strings.Replace(strings.Replace(good, testK, "12", 1), "7890", "7891", 1) + "]", []string{"line 3 (262011234567891@", "k: 2 hexadecimal digits"}},
		{"the same subscriber twice", "open5gs", good + "\n\n\n" + good, []string{"line 4 (", "stands in line 1 too"}},
		{"no security", "open5gs", "{}", []string{"line 1: security: is missing", "mongoexport"}},
		{"a shell's form", "open5gs", `{"imsi": ObjectId("1")}`, []string{"line 1: json: not JSON"}},
		{"an array behind an object", "open5gs", "[" + good + "[", []string{"line 1: json: not JSON"}},
		{"an open array", "open5gs", "[" + good, []string{"ends too early"}},
		{"a sequence number with a point", "open5gs", strings.Replace(good, `}}`, `,"sqn":1.5}}`, 1), []string{"security.sqn"}},
		{"a sequence number too long", "open5gs", strings.Replace(good, `}}`, `,"sqn":281474976710656}}`, 1), []string{"sqn: more than 48 bits"}},
		{"an AMF of 3 digits", "open5gs", strings.Replace(good, `}}`, `,"amf":"800"}}`, 1), []string{"line 1: amf"}},
		{"a name for a number", "open5gs", strings.Replace(good, `,"sec`, `,"msisdn":["alice"],"sec`, 1), []string{`msisdn: "alice" is no number`}},
		{"nothing", "open5gs", "\n", []string{"no subscriber in it", "nothing was changed"}},
		{"the test algorithm", "srsran", "# x\nue1,xor,262011234567890," + testK + ",opc," + testOPc + ",9001,000000001234,7,dynamic\n", []string{"line 2: Auth", "XOR is a test algorithm"}},
		{"a column too few", "srsran", "ue1,mil\n", []string{"line 1: columns: 2 of them"}},
		{"a subscriber without a card", "pyhss", `[{"ims_subscriber_id":1,"imsi":"262011234567890","msisdn":"1"}]`, []string{"line 1: imsi", "has no card"}},
		{"another table", "pyhss", `[{"apn_id":1}]`, []string{"of no table that counts"}},
		{"no names", "pyhss", "1,2,3\n", []string{"begins with the names of its columns"}},
		{"a dump without columns", "pyhss", "INSERT INTO auc VALUES (1,'x');\n", []string{"line 1: auc", "--complete-insert"}},
		{"a row that does not end", "pyhss", "\nINSERT INTO auc (ki) VALUES ('" + testK, []string{"line 2: auc"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			d.refused(exitFailed, append(s.words, "nothing was changed"), "user", "import", "--format", s.format, d.write("users", s.text))
		})
	}
	if list := d.do("user", "list"); !strings.Contains(list, "0 subscribers") {
		t.Error(list)
	}
}

// TestImport_PyHSS_leaves_out: cards in stock, and who has no service in the IMS.
func TestImport_PyHSS_leaves_out(t *testing.T) {
	text := `[{"auc_id":1,"ki":"` + testK + `","opc":"` + testOPc + `","amf":"8000","imsi":"262011234567890"},{"auc_id":2,"ki":"` + otherK + `","opc":"` + testOPc + `","amf":"8000"},
		{"auc_id":3,"ki":"` + otherK + `","opc":"` + testOPc + `","amf":"8000","imsi":"262011234567892"},{"ims_subscriber_id":1,"imsi":"262011234567890","msisdn":"49151","msisdn_list":"49151,49152"}]`
	c := convertForeign("pyhss", []byte(text), testDomain, "")
	if len(c.mistakes) > 0 || len(c.origin) != 1 || len(c.notes) != 2 {
		t.Fatalf("%v %v %v", c.mistakes, c.origin, c.notes)
	}
	if !strings.Contains(c.lines, `tel:+49152`) || strings.Count(c.lines, "tel:+49151") != 1 {
		t.Error("the second number is not there, or the first twice")
	}
}

// fuzzForeign: any file gives mistakes or lines that are JSON, one for each origin, which is a line of the file.
func fuzzForeign(f *testing.F, format string) {
	for _, file := range foreignFiles() {
		if file.format == format {
			f.Add([]byte(file.text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := convertForeign(format, data, testDomain, "")
		if len(c.mistakes) == 0 && len(c.origin) == 0 {
			// An AuC of nothing but stock.
			if len(c.notes) == 0 {
				t.Error("neither a subscriber nor a word why")
			}
		}
		if strings.Count(c.lines, "\n") != len(c.origin) {
			t.Errorf("%d lines, %d origins", strings.Count(c.lines, "\n"), len(c.origin))
		}
		for line := range strings.Lines(c.lines) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%q", line)
			}
		}
		last := strings.Count(string(data), "\n") + 1
		for _, at := range c.origin {
			if at < 1 || at > last {
				t.Errorf("line %d of %d", at, last)
			}
		}
		for _, m := range c.mistakes {
			if m.Problem == "" || m.Subject == "line 0" {
				t.Errorf("%+v", m)
			}
		}
	})
}

func FuzzOpen5GS(f *testing.F) { fuzzForeign(f, "open5gs") }
func FuzzPyHSS(f *testing.F)   { fuzzForeign(f, "pyhss") }
func FuzzSrsRAN(f *testing.F)  { fuzzForeign(f, "srsran") }
