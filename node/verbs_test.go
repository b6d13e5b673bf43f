package node_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/store/seal"
)

const home = "ims.example.org"

// office is the operations of a store that no node uses.
type office struct {
	t     *testing.T
	verbs map[string]management.Verb
	ring  *seal.Keyring // what is on the disk, so to speak
}

func open(t *testing.T) *office {
	t.Helper()
	c := config.Default()
	c.IMS.Domain, c.Node.DataDir = home, filepath.Join(t.TempDir(), "store")
	clock := shard.RealClock()
	st, err := node.OpenStore(&c, clock, slog.New(slog.DiscardHandler), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	o := &office{t: t, ring: generate(t)}
	keys := node.NewKeys(o.ring, func() (*seal.Keyring, error) { return o.ring, nil })
	operations, err := node.OpenOperations(&c, clock, nil, st, keys)
	if err != nil {
		t.Fatal(err)
	}
	o.verbs = operations.Verbs()
	return o
}

func generate(t *testing.T) *seal.Keyring {
	t.Helper()
	ring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// call calls a verb with JSON text and returns its answer as JSON.
func (o *office) call(verb, input string) (json.RawMessage, error) {
	o.t.Helper()
	answer, err := o.verbs[verb].Do(context.Background(), json.RawMessage(input))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(answer)
	if err != nil {
		o.t.Fatal(err)
	}
	return text, nil
}

func (o *office) do(verb, input string) json.RawMessage {
	o.t.Helper()
	answer, err := o.call(verb, input)
	if err != nil {
		o.t.Fatalf("%s: %v", verb, err)
	}
	return answer
}

// refused calls a verb that must answer with a code.
func (o *office) refused(code, verb, input string) *management.Error {
	o.t.Helper()
	_, err := o.call(verb, input)
	var refusal *management.Error
	if !errors.As(err, &refusal) || refusal.Code != code {
		o.t.Errorf("%s: %v, want %s", verb, err, code)
		return &management.Error{}
	}
	return refusal
}

// user is the input of user.add; each name has a key of its own.
func user(name string) string {
	return fmt.Sprintf(`{"subscriber":{"impi":"%[1]s@%[2]s","k":"%032[3]x","opc":"%032[4]x","public":[{"impu":"sip:%[1]s@%[2]s"}]}}`,
		name, home, len(name)+1, name)
}

// TestVerbs_roles: a viewer changes nothing and reads nothing that is secret.
func TestVerbs_roles(t *testing.T) {
	looking := "status service.list service.show ca.show user.show user.list profile.list profile.show group.list group.show service.trace registration.explain policy health log.verify"
	for name, v := range open(t).verbs {
		want := management.Operator
		if strings.Contains(" "+looking+" ", " "+name+" ") {
			want = management.Viewer
		}
		if v.Needs != want {
			t.Errorf("%s needs %v, want %v", name, v.Needs, want)
		}
	}
}

// TestVerbs_input: what is not understood is refused, and never quoted.
func TestVerbs_input(t *testing.T) {
	o := open(t)
	const secret = "00112233445566778899aabbccddeeff"
	for _, input := range []string{``, `[]`, `{"subscriber":{"k":` + secret + `}}`, `{"subscriber":{"k":["` + secret + `"]}}`, `{"subscriber":{}} {}`,
		`{"pin":"` + secret + `"}`} {
		if e := o.refused("management.input", "user.add", input); strings.Contains(e.Error(), secret) {
			t.Errorf("%s is quoted: %v", input, e)
		}
	}
}

func TestVerbs_mistakes(t *testing.T) {
	o := open(t)
	o.do("user.add", user("alice"))
	_, err := o.call("user.add", user("alice"))
	if m := node.Mistakes(err); len(m) != 2 || m[0].Field != "impi" || m[1].Field != "public" {
		t.Errorf("%v", m)
	}
	lines, err := json.Marshal(map[string]any{"dry_run": true, "lines": strings.Repeat("{}\n", 5000)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.call("user.import", string(lines))
	if m := node.Mistakes(err); len(m) != 1000 {
		t.Errorf("%d mistakes cross the door, want the first 1000", len(m))
	}
	if m := node.Mistakes(errors.New("another")); m != nil {
		t.Errorf("%v", m)
	}
	o.refused("not-found", "user.show", `{"name":"bob"}`)
	o.refused("backup.path", "backup", `{"path":"relative"}`)
}

func TestVerbs_list_in_pages(t *testing.T) {
	o := open(t)
	for _, name := range []string{"a", "bb", "ccc"} {
		o.do("user.add", user(name))
	}
	var page node.UserPage
	var seen []string
	for after := ""; ; after = page.Next {
		page = node.UserPage{}
		if err := json.Unmarshal(o.do("user.list", fmt.Sprintf(`{"limit":2,"after":%q}`, after)), &page); err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Users {
			seen = append(seen, u.ID)
		}
		if page.Next == "" {
			break
		}
	}
	if len(seen) != 3 || seen[2] != "ccc@"+home {
		t.Errorf("%v", seen)
	}
}

// TestRotate: only a keyring that opens everything, and that the command means, takes the place of the present one.
func TestRotate(t *testing.T) {
	o := open(t)
	o.do("user.add", user("alice"))
	before := o.ring
	rotate := func(ring *seal.Keyring, probe []byte) string {
		if probe == nil {
			var err error
			if probe, err = node.Probe(ring, rand.Reader); err != nil {
				t.Fatal(err)
			}
		}
		o.ring = ring
		input, err := json.Marshal(node.RotateKeys{Probe: probe})
		if err != nil {
			t.Fatal(err)
		}
		return string(input)
	}
	o.refused("key.foreign", "key.rotate", rotate(generate(t), nil))
	next, err := before.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := node.Probe(before, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o.refused("key.elsewhere", "key.rotate", rotate(next, old))
	o.refused("key.elsewhere", "key.rotate", rotate(next, []byte("no probe")))

	var done node.Rotated
	if err := json.Unmarshal(o.do("key.rotate", rotate(next, nil)), &done); err != nil || done.Resealed != 1 {
		t.Errorf("%+v %v", done, err)
	}
	o.do("key.rotate", rotate(next.Retire(), nil)) // the old key is gone, and everything opens
	var checked node.CheckedKeys
	if err := json.Unmarshal(o.do("key.check", `{}`), &checked); err != nil || checked.Cards != 1 {
		t.Errorf("%+v %v", checked, err)
	}
	o.refused("key.foreign", "key.rotate", rotate(before, nil)) // there is no way back
}

// TestProfileText: what is put is what is shown, word for word.
func TestProfileText(t *testing.T) {
	o := open(t)
	content := ""
	media := 0
	want := node.ProfileText{Name: "all", MediaProfile: &media, Services: []string{"urn:urn-7:3gpp-service.ims.icsi.mmtel"}, SharedSets: []int{7},
		Criteria: []node.CriteriaText{
			{Priority: 1, Server: "sip:as.example.org", Part: "unregistered", Otherwise: "terminate", ServiceInfo: "x",
				IncludeRegisterRequest: true, IncludeRegisterResponse: true},
			{Priority: 2, Server: "sip:as.example.org", Otherwise: "continue", Trigger: &node.TriggerText{Form: "dnf", Conditions: []node.ConditionText{
				{Groups: []int{0}, RequestURI: "sip:.*"},
				{Groups: []int{0, 1}, Not: true, Method: "INVITE"},
				{Groups: []int{1}, Method: "REGISTER", Registrations: []string{"initial", "refresh"}},
				{Groups: []int{1}, Header: "Accept-Contact", Content: &content},
				{Groups: []int{2}, Line: "m", Content: &content},
				{Groups: []int{2}, SessionCase: "originating-cdiv"}, {Groups: []int{3}, SessionCase: "originating"}}}},
		}}
	input, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	o.do("profile.put", string(input))
	var got node.ProfileText
	if err := json.Unmarshal(o.do("profile.show", `{"name":"all"}`), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nis not\n%+v (%v)", got, want, err)
	}
	for field, bad := range map[string]string{
		`part`:         `{"name":"x","criteria":[{"priority":1,"server":"sip:a.b","part":"always"}]}`,
		`trigger.form`: `{"name":"x","criteria":[{"priority":1,"server":"sip:a.b","trigger":{"form":"","conditions":[{"groups":[0],"method":"INVITE"}]}}]}`,
		`exactly one`:  `{"name":"x","criteria":[{"priority":1,"server":"sip:a.b","trigger":{"form":"cnf","conditions":[{"groups":[0]}]}}]}`,
		`content`:      `{"name":"x","criteria":[{"priority":1,"server":"sip:a.b","trigger":{"form":"cnf","conditions":[{"groups":[0],"method":"INVITE","content":"x"}]}}]}`,
		`no back ref`:  `{"name":"x","criteria":[{"priority":1,"server":"sip:a.b","trigger":{"form":"cnf","conditions":[{"groups":[0],"header":"To","content":"(a"}]}}]}`,
		`stands twice`: `{"name":"x","criteria":[{"priority":1,"server":"sip:a.b"},{"priority":1,"server":"sip:a.b"}]}`,
	} {
		_, err := o.call("profile.put", bad)
		if m := node.Mistakes(err); len(m) == 0 || !strings.Contains(m[0].String(), field) {
			t.Errorf("%s: %v %v", field, m, err)
		}
	}
}

func TestGroupText(t *testing.T) {
	o := open(t)
	want := node.GroupText{Name: "staff", VisitedNetworks: []string{"visited.example"}, MandatoryCapabilities: []uint32{1}, OptionalCapabilities: []uint32{2, 3},
		ServerNames: []string{"sip:scscf.example.org"}, PrimaryECF: "aaa://a", SecondaryECF: "aaa://b", PrimaryCCF: "aaa://c", SecondaryCCF: "aaa://d"}
	input, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	o.do("group.put", string(input))
	var got node.GroupText
	if err := json.Unmarshal(o.do("group.show", `{"name":"staff"}`), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nis not\n%+v (%v)", got, want, err)
	}
	o.refused("not-found", "group.remove", `{"name":"others"}`)
}
