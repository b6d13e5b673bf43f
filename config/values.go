package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time that is always written with its unit: "20s", "3ms", "1h30m". It is no
// number on purpose: TOML's bare 5 would otherwise be five nanoseconds. The zero value is zero.
type Duration struct{ d time.Duration }

// Of makes a Duration.
func Of(d time.Duration) Duration { return Duration{d} }

// Std returns it as the standard library's type.
func (d Duration) Std() time.Duration { return d.d }

// String writes it as UnmarshalText reads it, without the zeros that time.Duration adds.
func (d Duration) String() string {
	s := d.d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes it for TOML.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it. A number without a unit and a negative duration are errors.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	switch {
	case err != nil || isNumber(string(text)):
		return fmt.Errorf("%q is no duration: write a number with its unit, like \"20s\", \"3ms\" or \"1h30m\"", text)
	case v < 0:
		return fmt.Errorf("%q is before now: a duration is not negative", text)
	}
	d.d = v
	return nil
}

// isNumber finds "0", which ParseDuration accepts without a unit.
func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// Size is a number of octets, always written with its unit: "256MiB". The zero value is zero.
type Size int64

var sizeUnits = []struct {
	name   string
	octets int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String writes it in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if int64(s)%u.octets == 0 && (int64(s) >= u.octets || u.octets == 1) {
			return strconv.FormatInt(int64(s)/u.octets, 10) + u.name
		}
	}
	return "0B"
}

// MarshalText writes it for TOML.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads it.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.octets {
			break
		}
		*s = Size(n * u.octets)
		return nil
	}
	return fmt.Errorf("%q is no size: write a whole number with its unit, like \"256MiB\" (B, KiB, MiB, GiB)", text)
}

// Address is an IP address with a port. Names are refused: what a process listens on must not depend on an
// answer of the DNS. The zero value is none.
type Address struct{ netip.AddrPort }

// UnmarshalText reads it; an empty text is none.
func (a *Address) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Address{}
		return nil
	}
	v, err := netip.ParseAddrPort(string(text))
	if err == nil {
		a.AddrPort = v
		return nil
	}
	s := string(text)
	switch host, port, found := strings.Cut(s, ":"); {
	case strings.HasPrefix(s, ":"):
		return fmt.Errorf("%q has no address: write \"0.0.0.0%s\" or \"[::]%s\" to listen on all", s, s, s)
	case !found:
		return fmt.Errorf("%q has no port: write \"%s:5061\"", s, s)
	case host == "localhost":
		return fmt.Errorf("%q is a name: write \"127.0.0.1:%s\" or \"[::1]:%s\"", s, port, port)
	}
	return fmt.Errorf("%q is no IP address with a port: write it like \"192.0.2.1:5061\" or \"[2001:db8::1]:5061\"", s)
}

// MarshalText writes it for TOML; none is an empty text.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String returns "" for none.
func (a Address) String() string {
	if !a.IsValid() {
		return ""
	}
	return a.AddrPort.String()
}

// SecretFile is the name of a file that holds a secret, or "credential:NAME" for one that the system hands
// over. It is never the secret itself, and what looks like one is refused.
type SecretFile string

// credential begins the name of a secret from the system's credential store.
const credential = "credential:"

// UnmarshalText reads the name.
func (f *SecretFile) UnmarshalText(text []byte) error {
	s := string(text)
	if strings.ContainsAny(s, "\n\r\x00") || strings.HasPrefix(s, "-----BEGIN") {
		return errors.New("this is a secret itself: put it into a file that only its owner can read, and write the file's name here")
	}
	*f = SecretFile(s)
	return nil
}

// MarshalText writes the name for TOML.
func (f SecretFile) MarshalText() ([]byte, error) { return []byte(f), nil }

// Path returns the file to read. directory is where the system put the credentials of this process
// (CREDENTIALS_DIRECTORY of systemd), "" if it did not.
func (f SecretFile) Path(directory string) (string, error) {
	name, ok := strings.CutPrefix(string(f), credential)
	switch {
	case !ok:
		return string(f), nil
	case directory == "":
		return "", fmt.Errorf("config: %s: the system gave this process no credentials directory", f)
	case name == "" || strings.Contains(name, "/"):
		return "", fmt.Errorf("config: %s: the name of a credential has no slash", f)
	}
	return directory + "/" + name, nil
}
