package node

import (
	"context"

	"imsafe/imsbox/hss"
	"imsafe/refpoint/cx"
)

// Named is the input of verbs about one profile or group.
type Named struct {
	Name string `json:"name"`
}

// Names is a list of names, in order.
type Names struct {
	Names []string `json:"names"`
}

// Told is what a change of a profile or group answers.
type Told struct {
	Warning string `json:"warning,omitempty"` // the change stands, and this is to be known
}

// GroupText is a group as a person writes it.
type GroupText struct {
	Name            string   `json:"name"`
	Profile         string   `json:"profile,omitempty"`          // service profile of members who name none
	VisitedNetworks []string `json:"visited_networks,omitempty"` // where members may roam
	// What the S-CSCF of the members must have, and may have (TS 29.229 6.3.5, 6.3.6), or which ones to take.
	MandatoryCapabilities []uint32 `json:"mandatory_capabilities,omitempty"`
	OptionalCapabilities  []uint32 `json:"optional_capabilities,omitempty"`
	ServerNames           []string `json:"server_names,omitempty"`
	// Diameter URIs of the charging functions (TS 29.229 6.3.19).
	PrimaryECF   string `json:"primary_ecf,omitempty"`
	SecondaryECF string `json:"secondary_ecf,omitempty"`
	PrimaryCCF   string `json:"primary_ccf,omitempty"`
	SecondaryCCF string `json:"secondary_ccf,omitempty"`
}

func (g *GroupText) group() *hss.Group {
	out := &hss.Group{Name: g.Name, Profile: g.Profile, VisitedNetworks: g.VisitedNetworks}
	if len(g.MandatoryCapabilities)+len(g.OptionalCapabilities)+len(g.ServerNames) > 0 {
		out.Capabilities = &cx.ServerCapabilities{Mandatory: g.MandatoryCapabilities, Optional: g.OptionalCapabilities, ServerNames: g.ServerNames}
	}
	if charging := (cx.ChargingInformation{PrimaryECF: g.PrimaryECF, SecondaryECF: g.SecondaryECF, PrimaryCCF: g.PrimaryCCF,
		SecondaryCCF: g.SecondaryCCF}); charging != (cx.ChargingInformation{}) {
		out.Charging = &charging
	}
	return out
}

func textOfGroup(g *hss.Group) *GroupText {
	out := &GroupText{Name: g.Name, Profile: g.Profile, VisitedNetworks: g.VisitedNetworks}
	if c := g.Capabilities; c != nil {
		out.MandatoryCapabilities, out.OptionalCapabilities, out.ServerNames = c.Mandatory, c.Optional, c.ServerNames
	}
	if c := g.Charging; c != nil {
		out.PrimaryECF, out.SecondaryECF, out.PrimaryCCF, out.SecondaryCCF = c.PrimaryECF, c.SecondaryECF, c.PrimaryCCF, c.SecondaryCCF
	}
	return out
}

func (o *Operations) listGroups(ctx context.Context, _ None) (out Names, err error) {
	out.Names, err = o.HSS.Groups(ctx)
	return out, err
}

func (o *Operations) showGroup(_ context.Context, in Named) (*GroupText, error) {
	g, err := o.HSS.GroupByName(in.Name)
	if err != nil {
		return nil, err
	}
	return textOfGroup(g), nil
}

func (o *Operations) putGroup(ctx context.Context, in GroupText) (out Told, err error) {
	out.Warning, err = warning(o.HSS.PutGroup(ctx, in.group()))
	return out, err
}

func (o *Operations) removeGroup(ctx context.Context, in Named) (None, error) {
	return None{}, o.HSS.RemoveGroup(ctx, in.Name)
}

func (o *Operations) listProfiles(ctx context.Context, _ None) (out Names, err error) {
	out.Names, err = o.HSS.Profiles(ctx)
	return out, err
}

func (o *Operations) showProfile(_ context.Context, in Named) (*ProfileText, error) {
	p, err := o.HSS.Profile(in.Name)
	if err != nil {
		return nil, err
	}
	return textOfProfile(in.Name, p), nil
}

func (o *Operations) putProfile(ctx context.Context, in ProfileText) (out Told, err error) {
	p, mistakes := in.profile()
	if len(mistakes) > 0 {
		return out, mistakes
	}
	out.Warning, err = warning(o.HSS.PutProfile(ctx, in.Name, p))
	return out, err
}

func (o *Operations) removeProfile(ctx context.Context, in Named) (None, error) {
	return None{}, o.HSS.RemoveProfile(ctx, in.Name)
}
