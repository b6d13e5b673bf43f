package ca_test

import (
	"crypto/rand"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"imsafe/ca"
)

func TestServer(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	authority, err := ca.New(rand.Reader, func() time.Time { return now }, "ims.example", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name  string
		names []string
		ip    string
		asked string
		at    time.Time
		ok    bool
	}{
		{"its_own_name", []string{"pcscf.ims.example"}, "127.0.0.1", "pcscf.ims.example", now, true},
		{"loopback_address", []string{"pcscf.ims.example"}, "127.0.0.1", "127.0.0.1", now, true},
		{"another_name", []string{"pcscf.ims.example"}, "127.0.0.1", "scscf.ims.example", now, false},
		{"expired", []string{"pcscf.ims.example"}, "127.0.0.1", "pcscf.ims.example", now.Add(2 * time.Hour), false},
		{"a_domain_that_is_not_ours", []string{"pcscf.elsewhere.example"}, "127.0.0.1", "pcscf.elsewhere.example", now, false},
		{"an_address_that_is_not_loopback", []string{"pcscf.ims.example"}, "192.0.2.1", "pcscf.ims.example", now, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cert, err := authority.Server(time.Hour, c.names, []net.IP{net.ParseIP(c.ip)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: authority.Pool(), DNSName: c.asked, CurrentTime: c.at})
			if (err == nil) != c.ok {
				t.Errorf("verified with error %v, want success %v", err, c.ok)
			}
		})
	}
}
