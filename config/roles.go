package config

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

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
	c.validateMwNodes(f)
	c.needs(f, "pcscf", "icscf", "mw.icscf.address", m.ICSCF.Address)
	c.needs(f, "pcscf", "scscf", "mw.scscf.address", m.SCSCF.Address)
	c.needs(f, "icscf", "scscf", "mw.scscf.address", m.SCSCF.Address)
}

// validateMwNodes looks at the nodes that have all functions.
func (c *Config) validateMwNodes(f *findings) {
	m := c.Mw
	if len(m.Nodes) == 0 {
		return
	}
	f.refuse(!m.Listen.IsValid(), "mw.listen", "give the address that this node is reached by", "there are other nodes, and this one has no wire")
	f.refuse(m.Clear, "mw.clear", "remove it", "session keys go from node to node, in mutual TLS alone")
	f.refuse(!c.Store.Shared(), "store.engine", `write engine = "postgres"`, "nodes with all functions share a store, and the embedded one is for one process")
	for _, role := range roles {
		f.refuse(!c.HasRole(role), "node.roles", "take roles out of [node]", "nodes beside others that have all functions have all of them, and this one has no %s", role)
	}
	seen := []string{c.Node.Name}
	for _, n := range m.Nodes {
		f.refuse(!nodeName.MatchString(n.Name), "mw.node", "lower-case letters, digits and hyphens, at most 63", "%q is no name of a node", n.Name)
		f.refuse(slices.Contains(seen, n.Name), "mw.node", "each node has a name of its own, in [node] of its configuration", "%q is the name of two nodes", n.Name)
		f.refuse(!n.Address.IsValid(), "mw.node", "give its address", "where node %q is reached is not said", n.Name)
		f.refuse(n.Certificate == "", "mw.node", "give its certificate", "which name stands in the certificate of node %q is not said", n.Name)
		seen = append(seen, n.Name)
	}
}

// FunctionsOf returns what the functions of a node are called after: name, or "" where there is one node with all of them.
func (c *Config) FunctionsOf(name string) string {
	if len(c.Mw.Nodes) == 0 {
		return ""
	}
	return name
}

// needs refuses a role whose partner is neither in the process nor elsewhere.
func (c *Config) needs(f *findings, role, other, key string, elsewhere Address) {
	f.refuse(c.HasRole(role) && !c.HasRole(other) && !elsewhere.IsValid(), key, "", "%s needs %s, which is neither here nor on another node", role, other)
}

// CxName returns what this node is called in Diameter.
func (c *Config) CxName() string {
	switch {
	case c.Cx.Name != "":
		return c.Cx.Name
	case c.HasRole("hss"):
		return "hss." + c.HomeDomain()
	}
	return "cscf." + c.HomeDomain()
}

// CxServerName returns what an HSS on another node is called in Diameter.
func (c *Config) CxServerName() string {
	return cmp.Or(c.Cx.ServerName, "hss."+c.HomeDomain())
}

func (c *Config) validateCx(f *findings) {
	x, hss := c.Cx, c.HasRole("hss")
	used := x.Listen.IsValid() || x.Server.IsValid()
	f.refuse(x.LabCleartextKeys && !c.Node.Lab, "cx.lab_cleartext_keys", "remove it; other nodes show a certificate", "keys in clear are for a lab only")
	f.refuse(used && !x.LabCleartextKeys && (c.Mw.CertificateFile == "" || c.Mw.KeyFile == "" || c.Mw.CAFile == ""), "mw.certificate_file", "give certificate_file, key_file and ca_file", "[cx] needs mutual TLS, with the certificate of [mw]")
	f.refuse(x.Listen.IsValid() && !hss, "cx.listen", "", "only an HSS listens for CSCFs, and this process has none")
	f.refuse(x.Server.IsValid() && hss, "cx.server", "take the role out of [node], or the address out", "this process has the function itself")
	f.refuse(x.Listen.IsValid() && len(x.Clients) == 0, "cx.clients", `write clients = ["cscf.`+c.HomeDomain()+`"]`, "an HSS that listens serves somebody")
	f.refuse(x.Alternate.IsValid() && !x.Server.IsValid(), "cx.server", "", "there is a second HSS and no first")
	f.refuse(x.Alternate.IsValid() && (x.AlternateName == "" || x.AlternateName == c.CxServerName()), "cx.alternate_name", "say which name stands in its certificate", "the second HSS needs a name of its own")
	f.refuse(x.Watchdog.Std() < 6*time.Second, "cx.watchdog", "", "%s is less than 6s", x.Watchdog)
	oneOf(f, "cx.aka", x.AKA, "AKAv1-MD5", "AKAv2-SHA-256")
	for key, names := range map[string][]string{"cx.name": {x.Name}, "cx.clients": x.Clients, "cx.interrogating_clients": x.Interrogating,
		"cx.server_name": {x.ServerName}, "cx.alternate_name": {x.AlternateName}} {
		for _, name := range names {
			bad := !isHost(name)
			f.refuse(bad && (name != "" || strings.HasSuffix(key, "clients")), key, "the host of the Diameter node, such as cscf.ims.example.org", "%q is no domain name", name)
		}
	}
	c.validateCxServers(f)
	c.needs(f, "icscf", "hss", "cx.server", x.Server)
	c.needs(f, "scscf", "hss", "cx.server", x.Server)
}

// validateCxServers looks at the S-CSCFs of the HSS's clients: each name is one client's, whether it is listed or follows from the client's own name.
func (c *Config) validateCxServers(f *findings) {
	owner := map[string]string{}
	if c.HasRole("scscf") && len(c.Mw.Nodes) == 0 {
		owner["scscf."+c.HomeDomain()] = c.CxName()
	}
	for _, s := range c.Cx.SCSCFs {
		host, sip := strings.CutPrefix(s.Name, "sip:")
		host, _, _ = strings.Cut(host, ":")
		f.refuse(!sip || !isHost(host), "cx.scscf", "the S-CSCF as it stands in Server-Name, such as sip:scscf1.ims.example.org:6060", "%q is no SIP name of an S-CSCF", s.Name)
		f.refuse(!slices.Contains(c.Cx.Clients, s.Client), "cx.scscf", "name one of cx.clients", "%q, which has S-CSCF %q, is no client", s.Client, s.Name)
		of, taken := owner[host]
		f.refuse(taken && of != s.Client, "cx.scscf", "give each S-CSCF a name of its own", "S-CSCF %q is at two nodes", s.Name)
		owner[host] = s.Client
	}
	for _, client := range c.Cx.Clients {
		of, taken := owner[client]
		f.refuse(taken && of != client, "cx.clients", "give the node another name in Diameter", "%q is the name of an S-CSCF at another node", client)
	}
}

// isHost reports whether a name can stand in a certificate: at least two labels.
func isHost(name string) bool {
	labels := strings.Split(name, ".")
	return len(labels) >= 2 && !slices.ContainsFunc(labels, func(l string) bool { return !label.MatchString(l) })
}
