package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/imsservice"
	"imsafe/iface/management"
	"imsafe/imsbox/filter"
	"imsafe/imsbox/hss"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/disk"
)

// Operations is what an operator may do with the house. A running node offers them at its management door; without one,
// a command opens the store and calls the same verbs itself (OpenOperations). So there is one implementation, one form of
// input and output, and one wording of every mistake. Safe for concurrent use.
type Operations struct {
	HSS    *hss.HSS
	Store  store.Engine
	Keys   *Keys
	Random io.Reader
	Domain string // home domain
	Clock  shard.Clock
	Scheme string // of cards where nobody says it

	Authority *ca.Authority
	Registry  *imsservice.Registry
	// Pseudonyms are what service platforms know users by.
	Pseudonyms *imsservice.Pseudonyms
	EnrolAt    string // where service platforms ask to be approved, "" for nowhere
	ConnectAt  string // where they connect then, "" for nowhere
	// EndDialogs ends the dialogs that a service takes part in, and says how many; nil without a running door.
	EndDialogs func(ctx context.Context, service string) (int, error)

	// Record writes down what is decided beside the register; nil where no log is kept.
	Record func(imsservice.Deed) error
	// Decisions is where the log of decisions stands; nil for none.
	Decisions disk.Disk

	// SharedSets are the shared filter criteria that the S-CSCF has; nil where there is none.
	SharedSets func() filter.SharedSets
	number     uint16 // of the node, where others share its store; else 0
	// Status tells of a running node; nil without one.
	Status func() Status
}

// Status is the answer of the verb status.
type Status struct {
	Running    bool   `json:"running"`
	Node       string `json:"node,omitempty"`
	Domain     string `json:"domain"`
	Lab        bool   `json:"lab"`
	Registered int    `json:"registered"`             // private identities with a registration in memory
	KeysInRing int    `json:"sealing_keys,omitempty"` // more than one while a rotation has not ended
	CardScheme string `json:"card_scheme,omitempty"`  // how cards authenticate where nobody says it
}

// cardScheme is how cards authenticate where nobody says it: by AKAv1-MD5 where clients get in by [ci.ipsec] alone, since telephones do that inside
// IPsec (TS 33.203 6.1.1) and nothing else would let them in; else by AKAv2-SHA-256.
func cardScheme(c *config.Config) string {
	if len(c.CI.IPsec.Listen) > 0 && len(c.CI.TLS.Listen) == 0 {
		return aka.AKAv1MD5.String()
	}
	return aka.AKAv2SHA256.String()
}

// None is the input of verbs that need none, and the output of those that say nothing.
type None struct{}

// registered is how many registrations this process holds.
func (n *Node) registered() int {
	if n.SCSCF == nil {
		return 0
	}
	return n.SCSCF.Registered()
}

// operations are those of this node.
func (n *Node) operations() *Operations {
	o := &Operations{number: sharedNumber(n.o.Config), HSS: n.HSS, Store: n.o.Store, Keys: n.keys, Random: n.o.Random, Domain: n.o.Config.HomeDomain(), Clock: n.o.Clock, Scheme: cardScheme(n.o.Config),
		Authority: n.Authority, Registry: n.Registry, Pseudonyms: n.Pseudonyms, SharedSets: n.sharedSets, Decisions: n.o.Decisions, Record: n.recorder(),
		Status: func() Status {
			return Status{Running: true, Node: n.o.Config.Node.Name, Domain: n.o.Config.HomeDomain(), Lab: n.o.Config.Node.Lab,
				Registered: n.registered()}
		}}
	if n.Services != nil {
		o.EndDialogs = n.endDialogs
	}
	if n.o.Sockets.Enrol != nil {
		o.EnrolAt = n.o.Sockets.Enrol.Addr().String()
	}
	if n.o.Sockets.ISC != nil {
		o.ConnectAt = n.o.Sockets.ISC.Addr().String()
	}
	return o
}

// verbs is what the operator's door of this node can do.
func (n *Node) verbs() map[string]management.Verb {
	verbs := n.operations().Verbs()
	verbs["registration.explain"] = verb(management.Viewer, n.stories.explain)
	verbs["policy"] = verb(management.Viewer, n.showPolicy)
	verbs["health"] = verb(management.Viewer, n.health)
	verbs["log.verify"] = verb(management.Viewer, n.verifyLog)
	verbs["page.code"] = verb(management.Operator, n.pageCode)
	verbs["trace"] = verb(management.Operator, n.trace)
	if n.HSS == nil {
		for name, v := range verbs {
			if !slices.Contains(withoutHSS, name) {
				verbs[name] = management.Verb{Needs: v.Needs, Do: hasNoHSS}
			}
		}
	}
	return verbs
}

// withoutHSS are the verbs of a node that has none.
var withoutHSS = []string{"status", "backup", "registration.explain", "policy", "health", "log.verify", "page.code", "trace"}

func hasNoHSS(context.Context, json.RawMessage) (any, error) {
	return nil, &management.Error{Code: "node.no-hss", Message: "this node has no HSS", Hint: "ask the node that has it: see roles in its configuration"}
}

// hasNoNode answers what only a running node knows.
func hasNoNode(context.Context, json.RawMessage) (any, error) {
	return nil, &management.Error{Code: "node.not-running", Message: "no node runs here", Hint: "what happened to a client is known to the node that it came to, while that runs"}
}

// Verbs returns every operation under its name. Viewers may call what shows no secret and changes nothing.
func (o *Operations) Verbs() map[string]management.Verb {
	verbs := map[string]management.Verb{
		"status": verb(management.Viewer, o.status),

		"user.add":     verb(management.Operator, o.addUser),
		"user.show":    verb(management.Viewer, o.showUser),
		"user.compare": verb(management.Operator, o.compareUser),
		"user.list":    verb(management.Viewer, o.listUsers),
		"user.import":  verb(management.Operator, o.importUsers),
		"user.remove":  verb(management.Operator, o.removeUser),
		"user.consent": verb(management.Operator, o.consentUser),

		"profile.list":   verb(management.Viewer, o.listProfiles),
		"profile.show":   verb(management.Viewer, o.showProfile),
		"profile.put":    verb(management.Operator, o.putProfile),
		"profile.remove": verb(management.Operator, o.removeProfile),
		"group.list":     verb(management.Viewer, o.listGroups),
		"group.show":     verb(management.Viewer, o.showGroup),
		"group.put":      verb(management.Operator, o.putGroup),
		"group.remove":   verb(management.Operator, o.removeGroup),

		"service.trace": verb(management.Viewer, o.traceService),

		"registration.explain": {Needs: management.Viewer, Do: hasNoNode},
		"policy":               {Needs: management.Viewer, Do: hasNoNode},
		"health":               {Needs: management.Viewer, Do: hasNoNode},
		"page.code":            {Needs: management.Operator, Do: hasNoNode},
		"trace":                {Needs: management.Operator, Do: hasNoNode},

		"log.verify": verb(management.Viewer, o.verifyLog),

		"backup":     verb(management.Operator, o.backup),
		"key.rotate": verb(management.Operator, o.rotateKeys),
		"key.check":  verb(management.Operator, o.checkKeys),
	}
	maps.Copy(verbs, o.serviceVerbs())
	return verbs
}

// verb makes a management verb of a function: strict input, and errors that say what to do.
func verb[In, Out any](needs management.Role, do func(context.Context, In) (Out, error)) management.Verb {
	return management.Verb{Needs: needs, Do: func(ctx context.Context, input json.RawMessage) (any, error) {
		var in In
		if err := decodeInput(input, &in); err != nil {
			return nil, err
		}
		out, err := do(ctx, in)
		if err != nil {
			return nil, told(err)
		}
		return out, nil
	}}
}

// decodeInput reads exactly one JSON value. The error quotes nothing of it: it may hold keys.
func decodeInput(input json.RawMessage, in any) error {
	d := json.NewDecoder(bytes.NewReader(input))
	d.DisallowUnknownFields()
	err := d.Decode(in)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows it")
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		err = errors.New("the field " + kind.Field + " cannot be a " + kind.Value)
	}
	return &management.Error{Code: "management.input", Message: "the input is not what this verb takes: " + err.Error(),
		Hint: "command and node may be of different versions"}
}

func (o *Operations) status(context.Context, None) (Status, error) {
	s := Status{Domain: o.Domain, Lab: o.Store.Meta().Lab}
	if o.Status != nil {
		s = o.Status()
	}
	s.CardScheme = o.Scheme
	s.KeysInRing = o.Keys.Keyring().Keys()
	return s, nil
}
