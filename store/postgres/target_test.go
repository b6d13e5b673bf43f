package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"imsafe/store/postgres"
)

// TestTarget: a server elsewhere shows a certificate for its name, and no error has the password.
func TestTarget(t *testing.T) {
	const secret = "s3cret-word"
	for _, c := range []struct {
		name, url string
		weaken    []string
		weak, bad bool
	}{
		{"socket", "host=/run/postgresql user=imsafe dbname=imsafe", nil, false, false},
		{"loopback", "postgres://imsafe@127.0.0.1/imsafe", nil, false, false},
		{"loopback by name", "postgres://imsafe@localhost:5433/imsafe?sslmode=disable", nil, false, false},
		{"elsewhere, unsaid", "postgres://imsafe@db.example.org/imsafe", nil, false, false},
		{"elsewhere, unsaid, beside another word", "postgres://imsafe@db.example.org/imsafe?connect_timeout=3", nil, false, false},
		{"elsewhere, in words", "host=db.example.org user=imsafe dbname=imsafe", nil, false, false},
		{"two of them", "host=db1.example.org,db2.example.org port=5432,5432 user=imsafe dbname=imsafe", nil, false, false},
		{"elsewhere, in clear", "postgres://imsafe@db.example.org/imsafe?sslmode=disable", nil, true, false},
		{"elsewhere, if it can", "postgres://imsafe@db.example.org/imsafe?sslmode=prefer", nil, true, false},
		{"elsewhere, whoever it is", "postgres://imsafe@db.example.org/imsafe?sslmode=require", nil, true, false},
		{"elsewhere, any name", "postgres://imsafe@db.example.org/imsafe?sslmode=verify-ca", nil, true, false},
		{"one of two is elsewhere", "host=/run/postgresql,db.example.org port=5432,5432 user=imsafe dbname=imsafe sslmode=disable", nil, true, false},
		{"named", "postgres://imsafe@db.example.org/imsafe?sslmode=disable", []string{postgres.WeakenTLS}, false, false},
		{"named, but something else", "postgres://imsafe@db.example.org/imsafe?sslmode=disable", []string{postgres.WeakenFsync}, true, false},
		{"unknown weakening", "host=/run/postgresql", []string{"all"}, false, true},
		{"with its password, and broken", "postgres://imsafe:" + secret + "@db.example.org:port/imsafe", nil, false, true},
		{"words, broken", "host=x password='" + secret, nil, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, err := postgres.ParseTarget(c.url, secret, c.weaken)
			if errors.Is(err, postgres.ErrWeak) != c.weak || (err != nil) != (c.weak || c.bad) {
				t.Fatalf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), secret) || target != nil && strings.Contains(target.String(), secret) {
				t.Errorf("the password is told: %v, %v", target, err)
			}
		})
	}
}
