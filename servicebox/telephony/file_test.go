package telephony

import (
	"context"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"
)

// disk is a file in memory.
type disk struct {
	text    []byte
	written time.Time
}

func (d *disk) Read() ([]byte, time.Time, error) {
	if d.text == nil {
		return nil, time.Time{}, fs.ErrNotExist
	}
	return d.text, d.written, nil
}

func (d *disk) Written() (time.Time, error) {
	_, written, err := d.Read()
	return written, err
}

func (d *disk) Replace(text []byte) error { d.edit(string(text)); return nil }

func (d *disk) edit(text string) { d.text, d.written = []byte(text), d.written.Add(time.Second) }

const bob = "sip:bob@ims.example"

func settingsOf(t *testing.T, f *File) Settings {
	t.Helper()
	s, err := f.Settings(context.Background(), bob)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFile: what an operator writes and what a user changes are both there, for whoever opens the file next as well.
func TestFile(t *testing.T) {
	d := &disk{}
	var warned []string
	f, err := OpenFile(d, func(err error) { warned = append(warned, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	if s := settingsOf(t, f); s != (Settings{}) {
		t.Errorf("without a file: %+v", s)
	}
	d.edit(`{"sip:Bob@IMS.example": {"busy": "tel:+15550001", "no_reply_seconds": 30}}`)
	if s := settingsOf(t, f); s != (Settings{}) {
		t.Errorf("users are case-sensitive: %+v", s)
	}
	d.edit(`{"sip:bob@IMS.example": {"busy": "tel:+15550001", "no_reply_seconds": 30}}`)
	if s := settingsOf(t, f); s.Busy != "tel:+15550001" || s.noReply() != 30*time.Second {
		t.Errorf("the operator's: %+v", s)
	}
	if err := f.Change(context.Background(), bob, func(s *Settings) { s.BarOutgoing = true }); err != nil {
		t.Fatal(err)
	}
	want := Settings{Busy: "tel:+15550001", NoReply: 30, BarOutgoing: true}
	other, err := OpenFile(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := settingsOf(t, f), settingsOf(t, other); a != want || b != want {
		t.Errorf("%+v, and read anew %+v; want %+v", a, b, want)
	}
	d.edit(`{"sip:bob@ims.example": {"bussy": "tel:+15550001"}}`)
	if s := settingsOf(t, f); s != want || len(warned) != 1 || !strings.Contains(warned[0], "bussy") {
		t.Errorf("broken by the operator: %+v, %q", s, warned)
	}
	if settingsOf(t, f); len(warned) != 1 {
		t.Error("it warns again and again")
	}
	if err := f.Change(context.Background(), bob, func(s *Settings) {}); err == nil {
		t.Error("it writes over a file that it cannot understand")
	}
	if _, err := OpenFile(d, nil); err == nil {
		t.Error("it starts with a file that it cannot understand")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                 ``,
		"no object":               `[]`,
		"unknown setting":         `{"sip:bob@ims.example": {"cfu": "sip:x@y"}}`,
		"target that is no URI":   `{"sip:bob@ims.example": {"busy": "carol"}}`,
		"target with headers":     `{"sip:bob@ims.example": {"busy": "sip:carol@ims.example?Route=x"}}`,
		"no identity":             `{"bob": {}}`,
		"one identity, two names": `{"sip:bob@ims.example": {}, "sip:bob@IMS.example": {}}`,
		"more behind it":          `{} {}`,
		"time that is too long":   `{"sip:bob@ims.example": {"no_reply_seconds": 70000}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if all, err := parse([]byte(text)); err == nil {
				t.Errorf("it reads %+v", all)
			}
		})
	}
}

// TestSettingsAreAllWritten: every setting has a name of its own in the file.
func TestSettingsAreAllWritten(t *testing.T) {
	kind := reflect.TypeFor[Settings]()
	seen := map[string]bool{}
	for i := range kind.NumField() {
		name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
		if name == "" || seen[name] {
			t.Errorf("%s has the name %q", kind.Field(i).Name, name)
		}
		seen[name] = true
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"sip:bob@ims.example": {"busy": "tel:+15550001", "no_reply_seconds": 30}}`))
	f.Add([]byte(`{"tel:+15550002": {"bar_outgoing": true}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parse(text)
		if err != nil && all != nil {
			t.Error("both an error and settings")
		}
	})
}

func FuzzCode(f *testing.F) {
	for _, uri := range []string{"sip:*21*carol%23@ims.example", "sip:%23%2321%23@x", "sip:*61*+15550001*11*30%23@x", "tel:*31#", "sip:bob@x"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		c, is := codeOf(uri)
		if is && (len(c.service) < 2 || len(c.service) > 3) {
			t.Errorf("%q is %+v", uri, c)
		}
	})
}
