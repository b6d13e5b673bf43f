package node

import (
	"testing"

	"imsafe/config"
)

// TestCardScheme: where telephones alone get in, cards that say nothing are telephones'.
func TestCardScheme(t *testing.T) {
	at := []config.Address{{}}
	for _, x := range []struct {
		ipsec, tls bool
		want       string
	}{{true, false, "AKAv1-MD5"}, {true, true, "AKAv2-SHA-256"}, {false, true, "AKAv2-SHA-256"}, {false, false, "AKAv2-SHA-256"}} {
		var c config.Config
		if x.ipsec {
			c.CI.IPsec.Listen = at
		}
		if x.tls {
			c.CI.TLS.Listen = at
		}
		if got := cardScheme(&c); got != x.want {
			t.Errorf("%+v: %s", x, got)
		}
	}
}
