package config

import (
	"cmp"
	"slices"
	"time"
)

// ShName returns what this node is called towards application servers.
func (c *Config) ShName() string { return cmp.Or(c.Sh.Name, c.CxName()) }

// validateSh finds what cannot work in [sh]. Which data and groups there are is for those to say who have them.
func (c *Config) validateSh(f *findings) {
	x := c.Sh
	listens := x.Listen.IsValid()
	f.refuse(listens && !c.HasRole("hss"), "sh.listen", "", "only an HSS listens for application servers, and this process has none")
	f.refuse(listens && (c.Mw.CertificateFile == "" || c.Mw.KeyFile == "" || cmp.Or(x.CAFile, c.Mw.CAFile) == ""), "mw.certificate_file",
		"give certificate_file, key_file and ca_file", "[sh] needs mutual TLS, with the certificate of [mw]")
	f.refuse(x.Name != "" && !isHost(x.Name), "sh.name", "the host of the Diameter node, such as hss.ims.example.org", "%q is no domain name", x.Name)
	f.refuse(x.Watchdog.Std() < 6*time.Second, "sh.watchdog", "", "%s is less than 6s", x.Watchdog)
	var services, hosts []string
	for _, s := range x.Services {
		f.refuse(s.Name == "" || slices.Contains(services, s.Name), "sh.service.name", "", "the service %q has no name, or stands twice", s.Name)
		services = append(services, s.Name)
		f.refuse(len(s.Hosts) == 0, "sh.service.hosts", `write hosts = ["`+s.Name+".as."+c.HomeDomain()+`"]`, "no instance of %q can be recognised", s.Name)
		for _, host := range s.Hosts {
			f.refuse(!isHost(host), "sh.service.hosts", "a domain name in lower case", "%q is no domain name", host)
			f.refuse(slices.Contains(hosts, host) || host == c.ShName(), "sh.service.hosts", "", "%s is another node's name", host)
			hosts = append(hosts, host)
		}
	}
	for _, g := range x.Grants {
		c.validateGrant(f, &g, services)
	}
}

func (c *Config) validateGrant(f *findings, g *ShGrant, services []string) {
	f.refuse(!slices.Contains(services, g.Service), "sh.grant.service", "name a [[sh.service]]", "there is no service %q", g.Service)
	f.refuse(len(g.Data) == 0, "sh.grant.data", `such as data = ["RepositoryData"]`, "a grant of no data to %q", g.Service)
	f.refuse(len(g.Operations) == 0, "sh.grant.operations", `such as operations = ["pull"]`, "a grant of no operation to %q", g.Service)
	for _, op := range g.Operations {
		oneOf(f, "sh.grant.operations", op, "pull", "update", "subscribe")
	}
	f.refuse(len(g.Groups) == 0 == !g.Everybody, "sh.grant.groups", `name groups = ["..."], or write everybody = true`, "whose data %q may have is not said, or twice", g.Service)
	f.refuse(g.Rate <= 0, "sh.grant.rate", "such as rate = 5, for five in a second", "a grant to %q without a rate", g.Service)
}
