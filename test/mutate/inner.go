package main

import "imsafe/secure"

// inner are mutants of the core's inner wires and of its management.
var inner = []Mutant{
	{secure.CoreAuthorizationRole, "any-server-name", "refpoint/cx/cxwire/server.go",
		`	return !there || strings.EqualFold(s.hostOf(string(name.Data)), r.Peer)`, `	return !there || len(name.Data) > 0`, []string{"CX-02"}},
	{secure.CoreAuthorizationRole, "vectors-in-any-name", "refpoint/cx/cxwire/server.go",
		`	case !s.ownName(r) && r.Refused(d.ServerName):`, `	case !bears && !s.ownName(r) && r.Refused(d.ServerName):`, []string{"CX-02"}},
	{secure.CoreAuthorizationRole, "users-in-any-name", "refpoint/cx/cxwire/server.go",
		`	case !s.ownName(r) && r.Refused(d.ServerName):`, `	case bears && !s.ownName(r) && r.Refused(d.ServerName):`, []string{"CX-02"}},
	{secure.CoreAuthorizationRole, "the-name-it-has", "refpoint/cx/cxwire/server.go",
		`	return !there || strings.EqualFold(s.hostOf(string(name.Data)), r.Peer)`, `	return !there || s.hostOf(string(name.Data)) != ""`, []string{"CX-02"}},
}
