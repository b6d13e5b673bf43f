package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// approvalPrefix begins the public half of an approval key.
const approvalPrefix = "ed25519:"

// FormatApprovalKey writes the public half of an approval key as the configuration has it.
func FormatApprovalKey(key ed25519.PublicKey) string {
	return approvalPrefix + base64.StdEncoding.EncodeToString(key)
}

// ParseApprovalKey reads it.
func ParseApprovalKey(text string) (ed25519.PublicKey, error) {
	digits, ok := strings.CutPrefix(text, approvalPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(digits)
	if !ok || err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%.80q is no public half of an approval key", text)
	}
	return key, nil
}

// Approvers returns the public halves of the approval keys. Validate has seen that they can be read.
func (c *Config) Approvers() (all []ed25519.PublicKey) {
	for _, text := range c.IS.ApprovalKeys {
		if key, err := ParseApprovalKey(text); err == nil {
			all = append(all, key)
		}
	}
	return all
}

func (c *Config) validateIS(f *findings) {
	for _, text := range c.IS.ApprovalKeys {
		_, err := ParseApprovalKey(text)
		f.refuse(err != nil, "is.approval_keys", "as `imsafe approver new` prints it: ed25519: and 44 characters", "%v", err)
	}
	serves := c.IS.Listen.IsValid()
	f.refuse(serves && c.IS.Listen.Port() == 0, "is.listen", "", "%s has no port", c.IS.Listen)
	f.refuse(serves && (!c.HasRole("hss") || !c.HasRole("scscf")), "is.listen", "let one node have both roles, hss and scscf", "the door to service platforms stands between the S-CSCF and the register beside the HSS, and this process has not both")
	f.refuse(c.HTTPS.Listen.IsValid() && c.HTTPS.Listen.Port() == 0, "https.listen", "", "%s has no port", c.HTTPS.Listen)
	f.refuse(c.HTTPS.Listen.IsValid() && !c.HasRole("hss"), "https.listen", "let the node that has the HSS listen", "the authority of the network is beside the HSS, and this process has none")
	origin, err := url.Parse(c.HTTPS.Origin)
	f.refuse(c.HTTPS.Origin != "" && (err != nil || origin.Scheme != "https" || "https://"+origin.Host != c.HTTPS.Origin || !strings.EqualFold(origin.Hostname(), "cs."+c.HomeDomain())),
		"https.origin", "https, cs."+c.HomeDomain()+", and the port if it is not 443", "clients ask nobody but cs.%s, by https, without a path", c.HomeDomain())
	enrols := c.IS.Enrol.Listen.IsValid()
	f.refuse(enrols && c.IS.Enrol.Listen.Port() == 0, "is.enrol.listen", "", "%s has no port", c.IS.Enrol.Listen)
	f.refuse(enrols && !c.HasRole("hss"), "is.enrol.listen", "let the node that has the HSS listen", "the register of service platforms is beside the HSS, and this process has none")
}
