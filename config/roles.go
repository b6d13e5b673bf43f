package config

import "slices"

// roles are the functions that a process may have.
var roles = []string{"pcscf", "icscf", "scscf", "hss"}

// HasRole reports whether the process has the function called name.
func (c *Config) HasRole(name string) bool {
	return len(c.Node.Roles) == 0 || slices.Contains(c.Node.Roles, name)
}

func (c *Config) validateMw(f *findings) {
	for _, r := range c.Node.Roles {
		oneOf(f, "node.roles", r, roles...)
	}
	m := c.Mw
	f.refuse(m.Clear && !c.Node.Lab, "mw.clear", "remove it; other nodes show a certificate", "a wire in clear is for a lab only")
	secured := m.Listen.IsValid() && !m.Clear
	f.refuse(secured && (m.CertificateFile == "" || m.KeyFile == "" || m.CAFile == ""), "mw.certificate_file", "give certificate_file, key_file and ca_file", "the wire needs mutual TLS")
	for key, peer := range map[string]MwPeer{"mw.pcscf": m.PCSCF, "mw.icscf": m.ICSCF, "mw.scscf": m.SCSCF} {
		known := peer.Address.IsValid()
		f.refuse(known && !m.Listen.IsValid(), "mw.listen", "give the address that this node is reached by", "%s is on another node, and this one has no wire", key)
		f.refuse(known && c.HasRole(key[len("mw."):]), key+".address", "take the role out of [node], or the address out", "this process has the function itself")
		f.refuse(known && secured && peer.Certificate == "", key+".certificate", "", "which name stands in its certificate is not said")
	}
	needs := func(role, other, section string, there bool) {
		f.refuse(c.HasRole(role) && !c.HasRole(other) && !there, section, "", "%s needs %s, which is neither here nor on another node", role, other)
	}
	needs("pcscf", "icscf", "mw.icscf.address", m.ICSCF.Address.IsValid())
	needs("pcscf", "scscf", "mw.scscf.address", m.SCSCF.Address.IsValid())
	needs("icscf", "scscf", "mw.scscf.address", m.SCSCF.Address.IsValid())
}
