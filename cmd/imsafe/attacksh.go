package main

import (
	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/proof/attack"
	"imsafe/refpoint/sh"
)

// rogueGroup is whom the attacker's service on Sh serves.
const rogueGroup = "rogue"

// shOfTarget is a door to application servers, and what they are granted. The attacker's service has what a service usually has, and may read the numbers of
// its own users besides, and what another service keeps of them under one name.
func shOfTarget(listen config.Address) config.Sh {
	x := config.Default().Sh
	x.Listen = listen
	x.Services = []config.ShService{{Name: attack.Rogue, Hosts: []string{"rogue.as." + targetDomain}}, {Name: attack.Archive, Hosts: []string{"archive.as." + targetDomain}},
		{Name: attack.Asker, Hosts: []string{"asker.as." + targetDomain}}}
	all := []string{"pull", "update", "subscribe"}
	x.Grants = []config.ShGrant{{Service: attack.Rogue, Data: []string{"*"}, Operations: all, Groups: []string{rogueGroup}, Rate: 500},
		{Service: attack.Rogue, Data: []string{"MSISDN"}, Operations: []string{"pull"}, Groups: []string{rogueGroup}, Rate: 500},
		{Service: attack.Rogue, Data: []string{"RepositoryData"}, Indications: []string{attack.Diary}, Operations: []string{"pull"}, Groups: []string{rogueGroup}, Rate: 500},
		{Service: attack.Archive, Data: []string{"RepositoryData"}, Indications: []string{"*"}, Operations: all, Everybody: true, Rate: 500}}
	return x
}

// grantsAsker grants the attacker's other service on Sh data of those who agree, one document of everybody to read, and whether somebody is registered, of everybody, at a pace.
func (t *target) grantsAsker() error {
	all := sh.Pull | sh.Update | sh.Subscribe
	return t.node.Permissions.Set(attack.Asker,
		hss.Grant{Data: []sh.DataReference{sh.RefRepositoryData}, Indications: []string{hss.AnyIndication}, Ops: all, Everybody: true, Consent: true, PerSecond: 500},
		hss.Grant{Data: []sh.DataReference{sh.RefRepositoryData}, Indications: []string{attack.Notice}, Ops: sh.Pull | sh.Subscribe, Everybody: true, PerSecond: 500},
		hss.Grant{Data: []sh.DataReference{sh.RefMSISDN}, Ops: sh.Pull, Everybody: true, Consent: true, PerSecond: 500},
		hss.Grant{Data: []sh.DataReference{sh.RefIMSUserState}, Ops: sh.Pull, Everybody: true, PerSecond: attack.AskerRate, Burst: attack.AskerBurst})
}
