package hss

import (
	"errors"
	"slices"
	"strings"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
)

// What application servers read: one function for each data reference (TS 29.328 7.6).

// read makes the data of the request's key. there is false if the HSS has none: an answer then has no data, and a notification says that
// it is gone (TS 29.328 6.1.1.1 step 5, 6.1.4.1). What other domains know, location and user state above all, an IMS HSS without a line
// to their nodes has not.
func (x *shRequest) read() (data *sh.Data, there bool, err error) {
	switch x.Reference {
	case sh.RefRepositoryData:
		return x.readRepository()
	case sh.RefIMSPublicIdentity:
		return x.readIdentities()
	case sh.RefIMSUserState:
		return x.readUserState()
	case sh.RefSCSCFName:
		return x.readServer()
	case sh.RefInitialFilterCriteria:
		return x.readCriteria()
	case sh.RefChargingInformation:
		return x.readCharging()
	case sh.RefMSISDN:
		return x.readMSISDN()
	case sh.RefPSIActivation:
		return x.readPSIActivation()
	case sh.RefDSAI:
		return x.readDSAI()
	}
	return nil, false, nil
}

// readRepository is RepositoryData (TS 29.328 7.6.1). Of identities that fall into a range it is the range's.
func (x *shRequest) readRepository() (*sh.Data, bool, error) {
	r := sh.RepositoryData{ServiceIndication: x.ServiceIndication}
	rec, err := x.h.getOr(x.t, TableRepository, repositoryKey(x.id.impu, x.ServiceIndication))
	if err != nil {
		return nil, false, x.h.unableSh("read", err)
	}
	if rec.Version != 0 {
		stored, err := decodeRepository(rec.Value)
		if err != nil {
			return nil, false, x.h.unableSh("decode", err)
		}
		r.SequenceNumber, r.ServiceData = stored.sequence, stored.data
	}
	return &sh.Data{Repository: []sh.RepositoryData{r}}, rec.Version != 0, nil
}

// readIdentities is IMSPublicIdentity: those that are not barred (TS 29.328 7.6.2). There are no alias sets here, so an identity is alone
// in its own (TS 23.008 3.5).
func (x *shRequest) readIdentities() (*sh.Data, bool, error) {
	only := x.IdentitySet == sh.ImplicitIdentities && x.user.service != nil || x.IdentitySet == sh.AliasIdentities
	if x.asks.MSISDN != "" && (x.IdentitySet == sh.ImplicitIdentities || x.IdentitySet == sh.AliasIdentities) {
		return nil, false, sh.ErrOperationNotAllowed
	}
	a, err := x.h.current(x.t, x.user)
	if err != nil {
		return nil, false, x.h.unableSh("read", err)
	}
	p := &sh.PublicIdentifiers{}
	x.user.each(func(set int, id *identity) {
		in := true
		switch {
		case only:
			in = id == x.id
		case x.IdentitySet == sh.ImplicitIdentities:
			in = set == x.set
		case x.IdentitySet == sh.RegisteredIdentities:
			in = a.sets[set].state == registered && x.user.service == nil
		}
		if in && !id.barred {
			p.IMPUs = append(p.IMPUs, cx.IMPU(id.impu))
		}
	})
	return &sh.Data{Identifiers: p}, len(p.IMPUs) > 0, nil
}

// readUserState is IMSUserState: the most registered state of the identity (TS 29.328 7.6.3).
func (x *shRequest) readUserState() (*sh.Data, bool, error) {
	a, err := x.h.current(x.t, x.user)
	if err != nil {
		return nil, false, x.h.unableSh("read", err)
	}
	s := sh.NotRegistered
	switch a.sets[x.set].state {
	case registered:
		s = sh.Registered
	case unregistered:
		s = sh.RegisteredUnregServices
	default:
		for i := range x.user.privates {
			if _, pending := x.user.authenticating(x.set, i, x.t.Now()); pending {
				s = sh.AuthenticationPending
			}
		}
	}
	return &sh.Data{IMS: &sh.IMSData{UserState: &s}}, true, nil
}

// readServer is S-CSCFName (TS 29.328 7.6.4).
func (x *shRequest) readServer() (*sh.Data, bool, error) {
	a, err := x.h.current(x.t, x.user)
	if err != nil {
		return nil, false, x.h.unableSh("read", err)
	}
	name := a.server
	return &sh.Data{IMS: &sh.IMSData{SCSCFName: &name}}, name != "", nil
}

// readCriteria is InitialFilterCriteria: those that lead to the application server that asks (TS 29.328 6.1.1.1, 7.6.5).
func (x *shRequest) readCriteria() (*sh.Data, bool, error) {
	s, _, err := x.serviceProfile()
	if err != nil {
		return nil, false, err
	}
	list := []cx.InitialFilterCriteria{}
	for _, c := range s.Criteria {
		if sameServer(c.Server.ServerName, x.ServerName) {
			list = append(list, c)
		}
	}
	return &sh.Data{IMS: &sh.IMSData{Criteria: &list}}, len(list) > 0, nil
}

// serviceProfile finds the service profile of the identity, as an S-CSCF gets it.
func (x *shRequest) serviceProfile() (*cx.ServiceProfile, *composed, error) {
	c, err := x.h.profileOf(x.t, x.user, x.set, 0)
	if err != nil {
		return nil, nil, x.h.unableSh("read", err)
	}
	for i := range c.ServiceProfiles {
		s := &c.ServiceProfiles[i]
		if slices.ContainsFunc(s.PublicIdentities, func(p cx.PublicIdentity) bool { return string(p.Identity) == x.id.impu }) {
			return s, c, nil
		}
	}
	return nil, nil, x.h.unableSh("read", errors.New("an identity without a service profile"))
}

// readCharging is ChargingInformation (TS 29.328 7.6.8).
func (x *shRequest) readCharging() (*sh.Data, bool, error) {
	_, c, err := x.serviceProfile()
	if err != nil {
		return nil, false, err
	}
	return &sh.Data{IMS: &sh.IMSData{Charging: c.group.Charging}}, c.group.Charging != nil, nil
}

// readMSISDN is MSISDN: the first number among the identities that are registered together with this one (TS 29.328 7.6.9).
func (x *shRequest) readMSISDN() (*sh.Data, bool, error) {
	p := &sh.PublicIdentifiers{}
	x.user.each(func(set int, id *identity) {
		if n, ok := strings.CutPrefix(id.impu, "tel:+"); ok && set == x.set && len(p.MSISDNs) == 0 && digits(n, 1, 15) {
			p.MSISDNs = []string{n}
		}
	})
	return &sh.Data{Identifiers: p}, len(p.MSISDNs) > 0, nil
}

// readPSIActivation is PSIActivation (TS 29.328 7.6.10).
func (x *shRequest) readPSIActivation() (*sh.Data, bool, error) {
	a, err := x.h.activationOf(x.t, x.user)
	if err != nil {
		return nil, false, err
	}
	active := !slices.Contains(a.inactive, x.id.impu)
	return &sh.Data{IMS: &sh.IMSData{PSIActivation: &active}}, true, nil
}

// readDSAI is the instance of DSAI that the tag names (TS 29.328 7.6.11).
func (x *shRequest) readDSAI() (*sh.Data, bool, error) {
	bound, err := x.boundTo(x.DSAITag)
	if err != nil || !bound {
		return nil, false, err
	}
	a, err := x.h.activationOf(x.t, x.user)
	if err != nil {
		return nil, false, err
	}
	return &sh.Data{IMS: &sh.IMSData{DSAI: []sh.DSAI{{Tag: x.DSAITag, Active: a.active(x.id.impu, x.DSAITag)}}}}, true, nil
}

// boundTo says whether the identity has an instance of DSAI with the tag: filter criteria of its stored profile are bound to it, and they lead
// to the application server that asks, the only one that may have a say in it (TS 29.328 7.6.11).
func (x *shRequest) boundTo(tag string) (bool, error) {
	group, err := x.h.groupOf(x.t, x.user)
	if err != nil {
		return false, x.h.unableSh("read", err)
	}
	name := x.user.profileNameOf(x.id, group)
	if name == "" {
		return false, nil
	}
	s, _, err := x.h.readProfile(x.t, name)
	if err != nil {
		return false, x.h.unableSh("read", err)
	}
	return slices.ContainsFunc(s.Criteria, func(c cx.InitialFilterCriteria) bool {
		return slices.Contains(c.DSAI, tag) && ownsServer(x.as, c.Server.ServerName)
	}), nil
}

// profileNameOf returns the service profile of an identity, by name.
func (s *subscription) profileNameOf(id *identity, group *Group) string {
	for i := range s.sets {
		for j := range s.sets[i].services {
			v := &s.sets[i].services[j]
			for k := range v.identities {
				if &v.identities[k] != id {
					continue
				}
				if v.profile == "" {
					return group.Profile
				}
				return v.profile
			}
		}
	}
	return ""
}

// activationOf returns what is switched off of a user; never nil.
func (h *HSS) activationOf(t *shard.Task, u *user) (*activation, error) {
	rec, err := h.getOr(t, TableActivation, u.key)
	if err != nil {
		return nil, h.unableSh("read", err)
	}
	if a := u.activation.Load(); a != nil && a.version == rec.Version {
		return a, nil
	}
	a, err := decodeActivation(rec)
	if err != nil {
		return nil, h.unableSh("decode", err)
	}
	u.activation.Store(a)
	return a, nil
}
