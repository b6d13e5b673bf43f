package config

import (
	"slices"
	"strings"
	"testing"
)

// TestPassword: the line that is shown with a mistake has no password in it.
func TestPassword(t *testing.T) {
	for _, line := range []string{
		`url = "postgres://imsafe:s3cret@db.example.org/imsafe"`, `url = "postgres://imsafe:s3:c@ret@db.example.org/imsafe"`,
		`url = "host=x password=s3cret dbname=y"`, `url = "host=x password = 's3 cret' dbname=y"`, `url = "postgres://db/imsafe?password=s3cret&x=y"`,
	} {
		_, err := Parse("f", []byte("[store]\nengine = \"postgres\"\n"+line+"\n"))
		if err == nil || strings.Contains(err.Error(), "cret") || strings.Contains(err.Error(), "s3") || !strings.Contains(err.Error(), "password_file") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestStore(t *testing.T) {
	database := Store{Engine: Postgres, URL: "postgres://imsafe@db.example.org/imsafe"}
	with := func(change func(*Store)) Store {
		s := database
		s.Window, s.Cache = Default().Store.Window, Default().Store.Cache
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		store Store
		key   string // of the problem; "": there is none
		weak  string
	}{
		"a database":            {store: with(func(*Store) {})},
		"words":                 {store: with(func(s *Store) { s.URL = "host=/run/postgresql user=imsafe dbname=imsafe" })},
		"no database":           {store: with(func(s *Store) { s.URL = "" }), key: "store.url"},
		"another engine":        {store: with(func(s *Store) { s.Engine = "mysql" }), key: "store.engine"},
		"embedded, with a URL":  {store: with(func(s *Store) { s.Engine = Embedded }), key: "store.engine"},
		"a password in the URL": {store: with(func(s *Store) { s.URL = "postgres://imsafe:secret@db.example.org/imsafe" }), key: "store.url"},
		"one among the words":   {store: with(func(s *Store) { s.URL = "host=/run/postgresql PASSWORD = secret" }), key: "store.url"},
		"one in its query":      {store: with(func(s *Store) { s.URL = "postgres://db.example.org/imsafe?user=imsafe&password=secret" }), key: "store.url"},
		"a weakening":           {store: with(func(s *Store) { s.Weaken = []string{"fsync-off"} }), weak: "store-fsync-off"},
		"no weakening":          {store: with(func(s *Store) { s.Weaken = []string{"everything"} }), key: "store.weaken"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := Example()
			conf.Store = c.store
			var keys []string
			for _, p := range conf.Validate() {
				keys = append(keys, p.Key)
				if strings.Contains(p.Text+p.Hint, "secret") && c.key == "store.url" {
					t.Errorf("the password is told: %s", p.Text)
				}
			}
			if found := slices.Contains(keys, c.key); found != (c.key != "") || c.key == "" && len(keys) > 0 {
				t.Errorf("problems with %q, want %q", keys, c.key)
			}
			weak := slices.ContainsFunc(conf.Weakenings(), func(w Weakening) bool { return w.Name == c.weak })
			if weak != (c.weak != "") {
				t.Errorf("weakenings %v, want %q", conf.Weakenings(), c.weak)
			}
		})
	}
}
