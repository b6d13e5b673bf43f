package cxwire

import (
	d "imsafe/proto/diameter"
	"imsafe/refpoint/cx"
)

// UAR and LIR: may this user register, and who serves it (TS 29.229 6.1.1, 6.1.2, 6.1.5, 6.1.6).

// Bits of UAR-Flags, LIA-Flags and SAR-Flags (TS 29.229 6.3.44, 6.3.59, 6.3.61).
const (
	uarEmergency        = 1 << 0
	liaPSIDirectRouting = 1 << 0
	sarPCSCFRestoration = 1 << 0
)

func appendUAR(w *d.Writer, r *cx.UserAuthorizationRequest) {
	w.Text(d.UserName, string(r.IMPI))
	w.Text(d.PublicIdentity, string(r.IMPU))
	w.Text(d.VisitedNetworkIdentifier, r.VisitedNetworkID)
	w.Enumerated(d.UserAuthorizationType, int32(r.Type))
	if r.Emergency {
		w.Unsigned32(d.UARFlags, uarEmergency)
	}
}

func decodeUAR(v d.AVPs) (*cx.UserAuthorizationRequest, *d.Fault) {
	kind, f := v.Choice(d.UserAuthorizationType, uint32(cx.Registration), uint32(cx.RegistrationAndCapabilities))
	if f != nil {
		return nil, f
	}
	flags, _ := v.Number(d.UARFlags)
	return &cx.UserAuthorizationRequest{IMPI: cx.IMPI(v.Text(d.UserName)), IMPU: cx.IMPU(v.Text(d.PublicIdentity)),
		VisitedNetworkID: v.Text(d.VisitedNetworkIdentifier), Type: cx.UserAuthorizationType(kind), Emergency: flags&uarEmergency != 0}, nil
}

func appendUAA(w *d.Writer, a *cx.UserAuthorizationAnswer) {
	w.TextIf(d.ServerName, a.ServerName)
	appendCapabilities(w, a.Capabilities)
}

func decodeUAA(v d.AVPs, result cx.Result) *cx.UserAuthorizationAnswer {
	return &cx.UserAuthorizationAnswer{Result: result, ServerName: v.Text(d.ServerName), Capabilities: decodeCapabilities(v)}
}

func appendCapabilities(w *d.Writer, c *cx.ServerCapabilities) {
	if c == nil {
		return
	}
	w.Open(d.ServerCapabilities)
	for _, n := range c.Mandatory {
		w.Unsigned32(d.MandatoryCapability, n)
	}
	for _, n := range c.Optional {
		w.Unsigned32(d.OptionalCapability, n)
	}
	for _, s := range c.ServerNames {
		w.Text(d.ServerName, s)
	}
	w.Close()
}

// decodeCapabilities reads Server-Capabilities (TS 29.229 6.3.4). A group that names nothing we know, be it empty or full of what others
// have added, means the same as none: any S-CSCF will do.
func decodeCapabilities(v d.AVPs) *cx.ServerCapabilities {
	g, ok := v.Find(d.ServerCapabilities)
	if !ok {
		return nil
	}
	c := &cx.ServerCapabilities{ServerNames: texts[string](g.Group(), d.ServerName)}
	for a := range g.Group().All() {
		n, _ := a.Unsigned32()
		switch a.ID() {
		case d.MandatoryCapability:
			c.Mandatory = append(c.Mandatory, n)
		case d.OptionalCapability:
			c.Optional = append(c.Optional, n)
		}
	}
	if c.Mandatory == nil && c.Optional == nil && c.ServerNames == nil {
		return nil
	}
	return c
}

func appendLIR(w *d.Writer, r *cx.LocationInfoRequest) {
	if r.Originating {
		w.Enumerated(d.OriginatingRequest, 0) // ORIGINATING, its only value (TS 29.229 6.3.34)
	}
	w.Text(d.PublicIdentity, string(r.IMPU))
	if r.Type != cx.Registration {
		w.Enumerated(d.UserAuthorizationType, int32(r.Type))
	}
	appendPriority(w, r.SessionPriority)
}

func decodeLIR(v d.AVPs) (*cx.LocationInfoRequest, *d.Fault) {
	kind, f := v.Choice(d.UserAuthorizationType, uint32(cx.Registration), uint32(cx.RegistrationAndCapabilities))
	if f != nil {
		return nil, f
	}
	priority, f := decodePriority(v)
	if f != nil {
		return nil, f
	}
	_, originating := v.Find(d.OriginatingRequest)
	return &cx.LocationInfoRequest{IMPU: cx.IMPU(v.Text(d.PublicIdentity)), Originating: originating,
		Type: cx.UserAuthorizationType(kind), SessionPriority: priority}, nil
}

func appendPriority(w *d.Writer, p cx.SessionPriority) {
	if p != cx.NoSessionPriority {
		w.Enumerated(d.SessionPriority, int32(p-cx.Priority0))
	}
}

func decodePriority(v d.AVPs) (cx.SessionPriority, *d.Fault) {
	if _, ok := v.Find(d.SessionPriority); !ok {
		return cx.NoSessionPriority, nil
	}
	n, f := v.Choice(d.SessionPriority, 0, uint32(cx.Priority4-cx.Priority0))
	return cx.Priority0 + cx.SessionPriority(n), f
}

func appendLIA(w *d.Writer, a *cx.LocationInfoAnswer) {
	w.TextIf(d.ServerName, a.ServerName)
	appendCapabilities(w, a.Capabilities)
	w.TextIf(d.WildcardedPublicIdentity, string(a.WildcardedIMPU))
	if a.PSIDirectRouting {
		w.Unsigned32(d.LIAFlags, liaPSIDirectRouting)
	}
}

func decodeLIA(v d.AVPs, result cx.Result) *cx.LocationInfoAnswer {
	flags, _ := v.Number(d.LIAFlags)
	return &cx.LocationInfoAnswer{Result: result, ServerName: v.Text(d.ServerName), Capabilities: decodeCapabilities(v),
		WildcardedIMPU: cx.IMPU(v.Text(d.WildcardedPublicIdentity)), PSIDirectRouting: flags&liaPSIDirectRouting != 0}
}
