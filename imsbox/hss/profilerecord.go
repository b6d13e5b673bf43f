package hss

import "imsafe/refpoint/cx"

// The versions of the record. The first has no DSAI.
const (
	plainProfileVersion   = 1
	serviceProfileVersion = 2
)

// encodeServiceProfile writes what a named service profile holds: everything but the identities, which are the
// subscribers'.
func encodeServiceProfile(s *cx.ServiceProfile) []byte {
	e := encoder{}
	e.byte(serviceProfileVersion)
	e.int(s.SubscribedMediaProfile)
	e.bool(s.AllowedServiceIDs != nil)
	e.strings(s.AllowedServiceIDs)
	e.ints(s.SharedIFCSetIDs)
	e.uint(uint64(len(s.Criteria)))
	for i := range s.Criteria {
		e.criterion(&s.Criteria[i])
		e.strings(s.Criteria[i].DSAI)
	}
	return e.b
}

func decodeServiceProfile(b []byte) (cx.ServiceProfile, error) {
	d := decoder{b: b}
	version := d.byte()
	if version != serviceProfileVersion && version != plainProfileVersion {
		return cx.ServiceProfile{}, errRecord
	}
	s := cx.ServiceProfile{SubscribedMediaProfile: d.int()}
	restricted := d.bool()
	s.AllowedServiceIDs = d.strings()
	if restricted && s.AllowedServiceIDs == nil {
		s.AllowedServiceIDs = []string{}
	} else if !restricted && s.AllowedServiceIDs != nil {
		d.fail()
	}
	s.SharedIFCSetIDs = d.ints()
	if n := d.count(); n > 0 {
		s.Criteria = make([]cx.InitialFilterCriteria, n)
	}
	for i := range s.Criteria {
		d.criterion(&s.Criteria[i])
		if version == serviceProfileVersion {
			s.Criteria[i].DSAI = d.strings()
		}
	}
	return s, d.done()
}

func (e *encoder) criterion(c *cx.InitialFilterCriteria) {
	e.int(c.Priority)
	e.byte(byte(c.Part))
	e.string(c.Server.ServerName)
	e.byte(byte(c.Server.DefaultHandling))
	e.string(c.Server.ServiceInfo)
	e.bool(c.Server.IncludeRegisterRequest)
	e.bool(c.Server.IncludeRegisterResponse)
	e.bool(c.Trigger != nil)
	if c.Trigger == nil {
		return
	}
	e.bool(c.Trigger.CNF)
	e.uint(uint64(len(c.Trigger.SPTs)))
	for i := range c.Trigger.SPTs {
		s := &c.Trigger.SPTs[i]
		e.bool(s.Negated)
		e.ints(s.Groups)
		e.byte(byte(s.Kind))
		e.string(s.Pattern)
		e.bool(s.HasContent)
		e.string(s.Content)
		e.byte(byte(s.Case))
		e.byte(byte(s.Registrations))
	}
}

func (d *decoder) criterion(c *cx.InitialFilterCriteria) {
	c.Priority = d.int()
	c.Part = cx.ProfilePart(d.uintMax(uint64(cx.PartUnregistered)))
	c.Server.ServerName = d.string()
	c.Server.DefaultHandling = cx.DefaultHandling(d.uintMax(uint64(cx.SessionTerminated)))
	c.Server.ServiceInfo = d.string()
	c.Server.IncludeRegisterRequest = d.bool()
	c.Server.IncludeRegisterResponse = d.bool()
	if !d.bool() {
		return
	}
	c.Trigger = &cx.TriggerPoint{CNF: d.bool()}
	c.Trigger.SPTs = make([]cx.SPT, d.count())
	for i := range c.Trigger.SPTs {
		s := &c.Trigger.SPTs[i]
		s.Negated = d.bool()
		s.Groups = d.ints()
		s.Kind = cx.SPTKind(d.uintMax(uint64(cx.SPTSessionDescription)))
		s.Pattern = d.string()
		s.HasContent = d.bool()
		s.Content = d.string()
		s.Case = cx.SessionCase(d.uintMax(uint64(cx.OriginatingCDIV)))
		s.Registrations = cx.RegistrationTypes(d.uintMax(7))
	}
}

func (e *encoder) ints(list []int) {
	e.uint(uint64(len(list)))
	for _, v := range list {
		e.int(v)
	}
}

func (d *decoder) ints() []int {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]int, n)
	for i := range list {
		list[i] = d.int()
	}
	return list
}
