package config

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// minimal is the shortest valid file.
const minimal = `[ims]
domain = "ims.example.org"
[ci.tls]
listen = ["192.0.2.1:5061"]
certificate_file = "/etc/imsafe/pcscf.crt"
key_file = "/etc/imsafe/pcscf.key"
[hss]
sealing_key_file = "/etc/imsafe/sealing.key"
`

// with adds lines to a section of the minimal file, or a section at its end.
func with(section, lines string) string {
	if strings.Contains(minimal, "["+section+"]\n") {
		return strings.Replace(minimal, "["+section+"]\n", "["+section+"]\n"+lines+"\n", 1)
	}
	return minimal + "[" + section + "]\n" + lines + "\n"
}

// without removes the line that begins with key.
func without(text, key string) string {
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, key+" =") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func TestMinimalFile(t *testing.T) {
	c, err := Parse("imsafe.toml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if c.HomeDomain() != "ims.example.org" || c.CI.TLS.Listen[0].String() != "192.0.2.1:5061" || c.CI.TLS.MinVersion != "1.3" ||
		c.Store.Window.Std() != 3*time.Millisecond || c.ManagementSocket() != "/var/lib/imsafe/management.sock" {
		t.Errorf("%+v", c)
	}
}

func TestHomeDomainOfCodes(t *testing.T) {
	for _, c := range []struct{ mcc, mnc, want string }{
		{"001", "01", "ims.mnc001.mcc001.3gppnetwork.org"},
		{"310", "410", "ims.mnc410.mcc310.3gppnetwork.org"},
		{"234", "015", "ims.mnc015.mcc234.3gppnetwork.org"},
	} {
		text := without(with("ims", `mcc = "`+c.mcc+"\"\nmnc = \""+c.mnc+`"`), "domain")
		cfg, err := Parse("x", []byte(text))
		if err != nil {
			t.Errorf("%s %s: %v", c.mcc, c.mnc, err)
		} else if cfg.HomeDomain() != c.want {
			t.Errorf("%s %s gives %s, want %s", c.mcc, c.mnc, cfg.HomeDomain(), c.want)
		}
	}
}

// TestParseRefuses has one row per mistake: what is written, the line and key it is found at, and parts of
// what the operator reads.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, text string
		at         string // "line:column: key"
		says       []string
	}{
		{"mnc without quotes, leading zero", without(with("ims", "mnc = 01"), "domain"), "2:7", []string{"leading zeroes", "\n    2 | mnc = 01\n      |       ^^\n", `mnc = "01"`, "01 is not 1"}},
		{"mnc without quotes", with("ims", "mnc = 1"), "2:7: ims.mnc", []string{"a string is wanted here, this is an integer", `mnc = "1"`}},
		{"mnc with one digit", without(with("ims", "mcc = \"001\"\nmnc = \"1\""), "domain"), "3:1: ims.mnc", []string{"not two or three digits"}},
		{"mcc alone", without(with("ims", `mcc = "001"`), "domain"), "1:2: ims.mnc", []string{"not two or three digits"}},
		{"domain and codes", with("ims", "mcc = \"001\"\nmnc = \"01\""), "4:1: ims.domain", []string{"both name the home network"}},
		{"no domain", without(minimal, "domain"), "1:2: ims.domain", []string{"the home network has no domain"}},
		{"3GPP domain with a short mnc", strings.Replace(minimal, "ims.example.org", "ims.mnc01.mcc001.3gppnetwork.org", 1), "2:1: ims.domain", []string{"three digits there", "^^^^^^"}},
		{"domain with capitals", strings.Replace(minimal, "ims.example.org", "IMS.example.org", 1), "2:1: ims.domain", []string{"lower case"}},
		{"domain that is an address", strings.Replace(minimal, "ims.example.org", "192.0.2.1", 1), "2:1: ims.domain", []string{"is an address"}},
		{"domain that is one word", strings.Replace(minimal, "ims.example.org", "ims", 1), "2:1: ims.domain", []string{"no domain name"}},
		{"unknown key", with("ims", `nmc = "01"`), "2:1: ims.nmc", []string{"no such key", "did you mean ims.mnc?"}},
		{"key in capitals", with("ims", `MCC = "001"`), "2:1: ims.MCC", []string{"no such key", "did you mean ims.mcc?"}},
		{"key in the wrong section", with("ims", `sealing_key_file = "x"`), "2:1: ims.sealing_key_file", []string{"did you mean hss.sealing_key_file?"}},
		{"unknown section", minimal + "[ci.wss]\n", "9:2: ci.wss", []string{"no such section"}},
		{"key twice", with("ims", `domain = "a.b"`), "3:1", []string{"already defined"}},
		{"broken syntax", minimal + "[store\n", "9:7", []string{"expected ']'"}},
		{"duration without a unit", with("store", "window = 5"), "10:1: store.window", []string{"a number without a unit", `window = "20s"`}},
		{"duration in quotes without a unit", with("store", `window = "5"`), "10:10: store.window", []string{"no duration", `      |          ^^^`}},
		{"duration of zero without a unit", with("store", `window = "0"`), "10:10: store.window", []string{"no duration"}},
		{"duration without quotes", with("store", "window = 5ms"), "10:11", []string{"window"}},
		{"negative duration", with("store", `window = "-1s"`), "10:10: store.window", []string{"not negative"}},
		{"size without a unit", with("store", "cache = 1000000"), "10:1: store.cache", []string{`"256MiB"`}},
		{"size with a unit of another kind", with("store", `cache = "1GB"`), "10:9: store.cache", []string{"no size"}},
		{"number too large", with("node", "number = 70000"), "10:10: node.number", []string{"70000"}},
		{"text for a truth value", with("node", `lab = "yes"`), "10:7: node.lab", []string{"this is a TOML string"}},
		{"address without a host", strings.Replace(minimal, "192.0.2.1:5061", ":5061", 1), "4:11: ci.tls.listen", []string{`"0.0.0.0:5061"`}},
		{"address that is a name", strings.Replace(minimal, "192.0.2.1:5061", "localhost:5061", 1), "4:11: ci.tls.listen", []string{"127.0.0.1:5061"}},
		{"address without a port", strings.Replace(minimal, "192.0.2.1:5061", "192.0.2.1", 1), "4:11: ci.tls.listen", []string{"has no port"}},
		{"address twice", strings.Replace(minimal, `["192.0.2.1:5061"]`, `["192.0.2.1:5061", "192.0.2.1:5061"]`, 1), "4:1: ci.tls.listen", []string{"stands twice"}},
		{"clear SIP outside a lab", with("ci.lab_udp", `listen = ["127.0.0.1:5060"]`), "10:1: ci.lab_udp.listen", []string{"for a lab only"}},
		{"clear SIP outside loopback", with("ci.lab_udp", `listen = ["192.0.2.1:5060"]`) + "[node]\nlab = true\n", "10:1: ci.lab_udp.listen", []string{"not loopback"}},
		{"no client door", without(minimal, "listen"), "3:2: ci.tls.listen", []string{"no client can reach"}},
		{"TLS without a key", without(minimal, "key_file"), "3:2: ci.tls.key_file", []string{"needs the certificate's key"}},
		{"old TLS", with("ci.tls", `min_version = "1.1"`), "4:1: ci.tls.min_version", []string{"one of 1.3, 1.2"}},
		{"a secret as a value", strings.Replace(minimal, `"/etc/imsafe/sealing.key"`, "\"\"\"-----BEGIN KEY\nabc\n\"\"\"", 1), "8:1: hss.sealing_key_file", []string{"control character"}},
		{"sealing key beside the data", strings.Replace(minimal, "/etc/imsafe/sealing.key", "/var/lib/imsafe/sealing.key", 1), "8:1: hss.sealing_key_file", []string{"lies in data_dir"}},
		{"no sealing key", without(minimal, "sealing_key_file"), "7:2: hss.sealing_key_file", []string{"missing"}},
		{"metrics for everybody", with("metrics", `listen = "0.0.0.0:9464"`), "10:1: metrics.listen", []string{"no login"}},
		{"a user with two roles", with("management", "operators = [1000]\nviewers = [1000]"), "11:1: management.viewers", []string{"already has a role in management.operators"}},
		{"relative data directory", with("node", `data_dir = "data"`), "10:1: node.data_dir", []string{"no absolute path"}},
		{"expires the wrong way round", with("registration", `max_expires = "10m"`), "10:1: registration.max_expires", []string{"less than default_expires"}},
		{"timers the wrong way round", with("timers.gm", `t2 = "1s"`), "10:1: timers.gm.t2", []string{"less than t1"}},
		{"an approval key that is none", with("is", `approval_keys = ["ed25519:AAAA"]`), "10:1: is.approval_keys", []string{"no public half", "imsafe approver new"}},
		{"a door for enrolment without a port", with("is.enrol", `listen = "192.0.2.1:0"`), "10:1: is.enrol.listen", []string{"has no port"}},
		{"unknown level", with("log", `level = "trace"`), "10:1: log.level", []string{"one of debug, info, warn, error"}},
		{"a control character", with("node", `name = "a\u001b"`), "10:1: node.name", []string{"control character"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("imsafe.toml", []byte(c.text))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v is no Problems", err)
			}
			text := err.Error()
			if !strings.HasPrefix(text, "imsafe.toml:"+c.at+": ") {
				t.Errorf("does not begin imsafe.toml:%s", c.at)
			}
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("does not say %q", want)
				}
			}
			if strings.Contains(text, "config.") {
				t.Error("names a Go type")
			}
			if t.Failed() {
				t.Log("\n" + text)
			}
		})
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := Parse("x", []byte(with("store", "window = \"5m\"\ncache = \"1B\"")+"[log]\nlevel = \"loud\"\n"))
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("%v", err)
	}
	if problems[0].Line > problems[1].Line || problems[1].Line > problems[2].Line {
		t.Errorf("not in the order of the file:\n%v", err)
	}
}

// TestWriteAndReadBack: the example is valid, says what it means, and documents every key.
func TestWriteAndReadBack(t *testing.T) {
	changed := Example()
	changed.Node = Node{Name: "two", Number: 2, Lab: true, DataDir: "/srv/ims", Shards: 3, Heap: 5 << 20}
	changed.CI.LabUDP.Listen = []Address{mustAddress("[::1]:5060")}
	changed.Metrics.Listen = Address{}
	changed.Management.Viewers = []uint32{7, 8}
	changed.Store.Cache = 3 << 30
	changed.Timers.Core.T2 = Of(90 * time.Second)
	for name, c := range map[string]Config{"example": Example(), "changed": changed} {
		var out bytes.Buffer
		if err := c.Write(&out); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(name, out.Bytes())
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		}
		if !reflect.DeepEqual(*back, c) {
			t.Errorf("%s: %+v\nreads back as %+v", name, c, *back)
		}
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	docs, err := readDocs()
	if err != nil {
		t.Fatal(err)
	}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if isSection(f.Type) {
				if docs[f.Type.Name()] == "" {
					t.Errorf("section %s has no comment", f.Type.Name())
				}
				visit(f.Type)
			} else if docs[typ.Name()+"."+f.Name] == "" {
				t.Errorf("key %s.%s has no comment", typ.Name(), f.Name)
			}
		}
	}
	visit(reflect.TypeFor[Config]())
}

// FuzzParse: any file is read or refused with a place in it, and what was read can be written and read.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("[ims]\nmnc = 01\n"))
	f.Add([]byte("a.b.c = {d = [1, 2.5, 1979-05-27]}\n[[x]]\n"))
	f.Add([]byte(with("ci.tls", "min_version = \"\\u0031.2\" # x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a text")
			}
			return
		}
		var out bytes.Buffer
		if err := c.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("g", out.Bytes()); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
	})
}

// TestDistance: letters changed, added and left out.
func TestDistance(t *testing.T) {
	for word, want := range map[string]int{"kitten": 0, "mitten": 1, "sitting": 3, "": 6} {
		if n := Distance("kitten", word); n != want {
			t.Errorf("%q: %d", word, n)
		}
	}
}
