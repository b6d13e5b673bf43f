package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"imsafe/proto/secagree"
)

func (c *Config) validateIPsec(f *findings) {
	i := c.CI.IPsec
	_, known := secagree.ProfileNamed(i.Profile)
	f.refuse(!known, "ci.ipsec.profile", "one of strict, handset, legacy", "%q is not known here", i.Profile)
	oneOf(f, "ci.ipsec.esp", i.ESP, "auto", "on", "off")
	oneOf(f, "ci.ipsec.backend", i.Backend, "user", "kernel", "auto")
	f.refuse(i.Backend == "kernel" && i.ESP == "off", "ci.ipsec.backend", `write backend = "user"`, "the kernel does ESP on IP, and esp is off")
	f.refuse(len(i.Listen) > 0 && i.ESP == "off" && i.NATPort == 0, "ci.ipsec.nat_port", "write nat_port = 4500", "ESP has no way: neither on IP nor in UDP")
	f.refuse(len(i.ClientPorts) < 3, "ci.ipsec.client_ports", "write client_ports = [6061, 6062, 6063]", "%d ports: each authentication takes another, and three may be in use", len(i.ClientPorts))
	ports := append([]uint16{i.ServerPort}, i.ClientPorts...)
	for n, port := range ports {
		key := "ci.ipsec.client_ports"
		if n == 0 {
			key = "ci.ipsec.server_port"
		}
		f.refuse(port == 0 || port == 5060 || port == 5061, key, "", "%d cannot be a protected port (TS 33.203 7.1)", port)
		f.refuse(slices.Index(ports, port) < n, key, "", "%d stands twice", port)
	}
	for _, a := range i.Listen {
		f.refuse(a.IsValid() && a.Addr().IsUnspecified(), "ci.ipsec.listen", "write the address that clients are told", "%s is no address that a security association could have", a)
	}
	for n := range i.Exceptions {
		_, err := i.Exceptions[n].Agreed()
		f.refuse(err != nil, "ci.ipsec.exception", "", "number %d: %v", n+1, err)
	}
}

// Agreed returns the exception in the words of the security agreement. The error says what is missing or unknown.
func (x *CIException) Agreed() (secagree.Exception, error) {
	e := secagree.Exception{IMPI: x.IMPI, IMEIFrom: x.IMEIFrom, IMEITo: x.IMEITo, Owner: x.Owner}
	day, err := time.Parse(time.DateOnly, x.Until)
	if err != nil {
		return e, fmt.Errorf("until is %q and not a day such as 2027-03-31", x.Until)
	}
	e.Ends = day.AddDate(0, 0, 1)
	for _, pair := range x.Algorithms {
		alg, ealg, _ := strings.Cut(pair, "/")
		e.Suites = append(e.Suites, secagree.Suite{Mechanism: secagree.IPsec3GPP, Alg: alg, EAlg: ealg})
	}
	return e, e.Validate()
}

// ipsecWeakenings are those of the security agreement.
func (c *Config) ipsecWeakenings() (all []Weakening) {
	i := c.CI.IPsec
	if len(i.Listen) == 0 {
		return nil
	}
	switch i.Profile {
	case "handset":
		all = append(all, Weakening{"ipsec-handset", "clients may agree on HMAC-SHA-1 with AES-CBC, which later releases do not recommend"})
	case "legacy":
		all = append(all, Weakening{"ipsec-legacy", "clients may agree on no encryption: who reads the bearer reads their signalling"})
	}
	for _, x := range i.Exceptions {
		all = append(all, Weakening{"ipsec-exception", fmt.Sprintf("%s may agree on %s until %s, for which %s answers", x.device(), strings.Join(x.Algorithms, ", "), x.Until, x.Owner)})
	}
	return all
}

// device says whom an exception is for, without naming a subscriber.
func (x *CIException) device() string {
	if x.IMPI != "" {
		return "one subscriber"
	}
	return "devices " + x.IMEIFrom + " to " + x.IMEITo
}
