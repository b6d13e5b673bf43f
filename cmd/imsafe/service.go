package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"imsafe/node"
)

type serviceCmd struct {
	Request serviceRequestCmd `cmd:"" help:"On the platform: make a key, send the manifest and ask to be approved."`
	Renew   serviceRenewCmd   `cmd:"" help:"On the platform: renew the certificate, once or for as long as it runs."`
	New     serviceNewCmd     `cmd:"" help:"Write a new service: code, manifest, tests."`
	Run     serviceRunCmd     `cmd:"" help:"On the platform: run echo or telephony as a program of its own."`
	Invite  serviceInviteCmd  `cmd:"" help:"Make a one-use token with which one platform may ask."`
	List    serviceListCmd    `cmd:"" help:"List the service platforms."`
	Show    serviceShowCmd    `cmd:"" help:"Show one: what it asks for, what was granted, its keys."`
	Approve serviceApproveCmd `cmd:"" help:"Approve what waits, or grant other scopes of what is in use. Signs with the approval key, which the core has not."`
	Suspend serviceSuspendCmd `cmd:"" help:"End at once what a platform may do, until it is resumed."`
	Resume  serviceNamedCmd   `cmd:"" help:"Let a suspended platform go on, or one that is held after a restore."`
	Revoke  serviceRevokeCmd  `cmd:"" help:"End a platform for good, or one of its certificates or instances."`

	Proxy serviceProxyCmd `cmd:"" help:"On the platform: stand in front of an application server that has no certificate, such as Kamailio or Asterisk."`

	Trace serviceTraceCmd `cmd:"" help:"Explain which filter criteria of a subscriber match a request, and why, without a telephone."`
}

type serviceTraceCmd struct {
	operator
	Identity     string   `arg:"" help:"Private or public identity of the subscriber; without a domain it is in the home domain."`
	Case         string   `arg:"" enum:"originating,terminating,terminating-unregistered,originating-unregistered,originating-cdiv" help:"Session case: originating, terminating, terminating-unregistered, originating-unregistered or originating-cdiv."`
	Method       string   `help:"Method of the request, INVITE by default." default:"INVITE" placeholder:"METHOD" group:"The request:"`
	URI          string   `name:"uri" help:"Request-URI; the subscriber himself if he is called, else somebody of the home domain." placeholder:"URI" group:"The request:"`
	Header       []string `help:"A header field. May be repeated." sep:"none" placeholder:"'NAME: VALUE'" group:"The request:"`
	SDP          string   `name:"sdp" help:"File with its session description; - for the standard input." placeholder:"FILE" group:"The request:"`
	Registration string   `help:"Of a REGISTER, what it is: initial (by default), refresh or end." placeholder:"TYPE" group:"The request:"`
	Unregistered bool     `help:"With originating-cdiv: the subscriber is not registered." group:"The request:"`
}

// maxSDP bounds the file of a session description: no larger request can come.
const maxSDP = 64 << 10

// Run asks the running node, or reads its store.
func (v *serviceTraceCmd) Run(a *app) error {
	in := node.TraceService{Case: v.Case, Unregistered: v.Unregistered, Method: v.Method, URI: v.URI, Headers: v.Header,
		Registration: v.Registration}
	if v.SDP != "" {
		text, err := a.readSDP(v.SDP)
		if err != nil {
			return err
		}
		in.SDP = text
	}
	return v.with(a, need{store: true}, func(house operations) error {
		domain, err := domainOf(a, house)
		if err != nil {
			return err
		}
		in.Identity = inDomain(v.Identity, domain)
		var out node.ServiceTrace
		if err := house.Call(a.ctx, "service.trace", in, &out); err != nil {
			return err
		}
		if a.json {
			a.print(out)
			return nil
		}
		a.sayTrace(&out)
		return nil
	})
}

// readSDP reads a session description.
func (a *app) readSDP(name string) (string, error) {
	from := a.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, maxSDP+1))
	if err == nil && len(text) > maxSDP {
		err = fmt.Errorf("%s: larger than %d octets", name, maxSDP)
	}
	return string(text), err
}

// sayTrace tells it to people.
func (a *app) sayTrace(t *node.ServiceTrace) {
	profile := "no service profile"
	switch {
	case t.Profile != "":
		profile = "service profile " + t.Profile
	case len(t.Criteria) > 0:
		profile += ", criteria of approved services"
	}
	a.say("%s, %s\n%s, %s", t.Identity, profile, t.Request, strings.ReplaceAll(t.Case, "-", " "))
	var servers []string
	for _, c := range t.Criteria {
		verdict := "-"
		if c.Matches {
			verdict = "MATCHES"
			servers = append(servers, c.Server)
		}
		a.say("\n%-8s priority %d  %s\n         %s", verdict, c.Priority, c.Server, c.Why)
		for _, g := range c.Groups {
			for _, s := range g.Triggers {
				holds := "no "
				if s.Holds {
					holds = "yes"
				}
				a.say("         %s  group %d: %s; %s", holds, g.Number, s.Asks, s.Found)
			}
		}
		if c.Matches {
			a.say("         if it does not answer, %s", c.Otherwise)
		}
	}
	if t.UnknownSets != nil {
		a.say("\nThe profile has shared sets that are not known here, so what they do is not told: %v", t.UnknownSets)
	}
	switch {
	case len(t.Criteria) == 0:
		a.say("\nThere are no criteria here: no application server is asked.")
	case servers == nil:
		a.say("\nNo application server is asked.")
	default:
		a.say("\nAsked in this order, unless one of them changes the request: %s", strings.Join(servers, ", "))
	}
}
