package config

import (
	"maps"
	"slices"
	"strings"

	"imsafe/proto/sip"
)

func (c *Config) validateNumbers(f *findings) {
	n := c.Numbering
	digits := map[string]string{"country_code": n.CountryCode, "international": n.International, "national": n.National, "area": n.Area}
	for _, key := range slices.Sorted(maps.Keys(digits)) {
		f.refuse(strings.Trim(digits[key], "0123456789") != "", "numbering."+key, "", "%q has other characters than digits", digits[key])
	}
	f.refuse(n.CountryCode == "" && n != Numbering{}, "numbering.country_code", "", "is needed by the other keys of this section")
	for _, number := range c.Emergency.Numbers {
		f.refuse(number == "" || strings.Trim(number, "0123456789") != "", "emergency.numbers", "", "%q is no number", number)
	}
	if c.Emergency.URI != "" {
		uri, err := sip.ParseURI([]byte(c.Emergency.URI))
		f.refuse(err != nil || !uri.IsSIP(), "emergency.uri", "", "%q is no SIP URI", c.Emergency.URI)
	}
}
