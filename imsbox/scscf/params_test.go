package scscf

import "testing"

// TestEchoed: what a client writes into quotes cannot come out of them.
func TestEchoed(t *testing.T) {
	cases := []struct{ name, params, want string }{
		{"all_but_expires", `expires=5;+g.3gpp.smsip;q=0.5`, `;+g.3gpp.smsip;q=0.5`},
		{"semicolon_in_quotes", `+g.x="a;expires=7;b" ; Expires=9`, `;+g.x="a;expires=7;b"`},
		{"forged_gruu", `pub-gruu="sip:bob@x;gr=y";audio`, `;audio`},
		{"escaped_quote", `+g.x="a\";temp-gruu=z";video`, `;+g.x="a\";temp-gruu=z";video`},
		{"nothing", ``, ``},
		{"open_quote", `a="b;c`, ``},
		{"escape_at_the_end", `a="b\`, ``},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := string(appendEchoed(nil, []byte(c.params))); got != c.want {
				t.Errorf("echoed %q, want %q", got, c.want)
			}
		})
	}
}

func TestPreference(t *testing.T) {
	for params, want := range map[string]int{"": 1000, ";q=1": 1000, ";q=1.0": 1000, ";q=0.5;audio": 500, ";q=0": 0, ";q=0.123": 123, ";q=0.x": 0} {
		if got := preference(params); got != want {
			t.Errorf("%q: %d, want %d", params, got, want)
		}
	}
}
