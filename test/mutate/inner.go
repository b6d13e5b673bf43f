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
	{secure.CoreAvailabilityConnections, "any-pace-on-cx-and-sh", "proto/fairlisten/fairlisten.go",
		`	if !l.pace.Take(c.source, l.cfg.Now()).Granted() && l.cfg.Refuses(c.peer, TooOften) {`,
		`	if !l.pace.Take(c.source, l.cfg.Now()).Granted() && len(l.sources) > 1 && l.cfg.Refuses(c.peer, TooOften) {`, []string{"CX-04", "CS-21", "IS-17"}},
	{secure.CoreAvailabilityConnections, "cx-is-open", "node/cx.go",
		`n.cx.node.Serve(ctx, n.fair(ln), `, `n.cx.node.Serve(ctx, ln, `, []string{"CX-04"}},
	{secure.CoreAvailabilityConnections, "sh-is-open", "node/sh.go",
		`n.sh.node.Serve(ctx, n.fair(n.o.Sockets.Sh), true)`, `n.sh.node.Serve(ctx, n.o.Sockets.Sh, true)`, []string{"CX-04"}},
	{secure.CoreAvailabilityConnections, "any-pace-on-mw", "node/connections.go",
		`n.o.Clock.Now()).Granted() ||`, `n.o.Clock.Now()).Granted() || peer.Port() > 0 ||`, []string{"CX-04"}},
	{secure.CoreAvailabilityConnections, "nobody-makes-room", "proto/fairlisten/fairlisten.go",
		`		if !l.cfg.Refuses(yields.peer, Crowd) {`, `		if l.cfg.Refuses(yields.peer, Crowd) {`, []string{"CX-04", "CS-21"}},
	{secure.CoreAvailabilityConnections, "the-newcomer-yields", "proto/fairlisten/fairlisten.go",
		`		if networks[c.network] > networks[oldest.network] {`, `		if networks[c.network] < networks[oldest.network] {`, []string{"CX-04"}},
	{secure.ISAvailabilityDeadline, "any-pace-of-enrolment", "iface/imsservice/enrol.go",
		`	return refusesConnection(e.registry.ports.Gate, peer, reason)`, `	return false`, []string{"IS-17"}},
	{secure.CSAvailabilityConnections, "only-a-crowd", "iface/clientweb/door.go",
		`	return d.ports.Gate.Refuse(secure.CSAvailabilityConnections,`, `	return reason == "crowd" && d.ports.Gate.Refuse(secure.CSAvailabilityConnections,`, []string{"CS-21"}},
	{secure.CSAvailabilityConnections, "no-crowd", "iface/clientweb/door.go",
		`	return d.ports.Gate.Refuse(secure.CSAvailabilityConnections,`, `	return reason != "crowd" && d.ports.Gate.Refuse(secure.CSAvailabilityConnections,`, []string{"CS-21"}},
	{secure.ManagementAuthorizationOrigin, "no-origin-is-ours", "iface/management/own.go",
		`	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return true`, `	case r.Method == http.MethodDelete:
		return true`, []string{"MG-07"}},
	{secure.ManagementAuthorizationOrigin, "any-link", "iface/management/own.go",
		`	leads := r.URL.Path == "/" && r`, `	leads := r`, []string{"MG-07"}},
	{secure.ManagementIntegrityLogLine, "direction-marks", "trace/handler.go",
		`		case unicode.IsPrint(r):`, `		case unicode.IsPrint(r) || unicode.Is(unicode.Cf, r):`, []string{"MG-05"}},
	{secure.ManagementIntegrityLogLine, "c1-as-it-is", "trace/handler.go",
		`		case unicode.IsPrint(r):`, `		case unicode.IsPrint(r) || r >= 0x80 && r < 0xa0:`, []string{"MG-05"}},
}
