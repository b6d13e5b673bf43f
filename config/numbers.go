package config

import (
	"maps"
	"slices"
	"strings"
)

func (c *Config) validateNumbers(f *findings) {
	n := c.Numbering
	digits := map[string]string{"country_code": n.CountryCode, "international": n.International, "national": n.National, "area": n.Area}
	for _, key := range slices.Sorted(maps.Keys(digits)) {
		f.refuse(strings.Trim(digits[key], "0123456789") != "", "numbering."+key, "", "%q has other characters than digits", digits[key])
	}
	f.refuse(n.CountryCode == "" && n.International+n.National+n.Area != "", "numbering.country_code", "", "is needed by the other keys of this section")
	c.validateRoutes(f)
	for _, number := range c.Emergency.Numbers {
		f.refuse(number == "" || strings.Trim(number, "0123456789") != "", "emergency.numbers", "", "%q is no number", number)
	}
	b := c.Budget
	budget := map[string]int{"calls": b.Calls, "messages": b.Messages, "subscriptions": b.Subscriptions, "transfers": b.Transfers,
		"notifications": b.Notifications, "others": b.Others}
	for _, key := range slices.Sorted(maps.Keys(budget)) {
		f.refuse(budget[key] < 0, "budget."+key, "", "%d is less than nothing", budget[key])
	}
	scheme, rest, _ := strings.Cut(c.Emergency.URI, ":")
	good := (scheme == "sip" || scheme == "sips") && rest != "" && !strings.ContainsAny(rest, " <>\"\r\n")
	f.refuse(c.Emergency.URI != "" && !good, "emergency.uri", "", "%q is no SIP URI", c.Emergency.URI)
}

func (c *Config) validateRoutes(f *findings) {
	prefixes := func(key string, all []string) {
		for _, p := range all {
			digits, global := strings.CutPrefix(p, "+")
			f.refuse(!global || strings.Trim(digits, "0123456789") != "", "numbering."+key, "", "%q is no prefix of a number with \"+\"", p)
		}
	}
	prefixes("barred", c.Numbering.Barred)
	prefixes("allowed", c.Numbering.Allowed)
	for _, p := range c.Numbering.Permissions {
		f.refuse(len(p.Identities) == 0 || len(p.Prefixes) == 0, "numbering.permission", "", "needs identities and prefixes")
		prefixes("permission.prefixes", p.Prefixes)
	}
}
