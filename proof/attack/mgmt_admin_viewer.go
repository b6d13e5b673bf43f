package attack

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"imsafe/secure"
)

// adminViewer: an account of the host that may look at the operator's door changes something there.
func adminViewer() Attack {
	return Attack{
		ID: "mgmt.admin.viewer", Number: "MG-08", Title: "an account that may only look calls what is the operator's",
		Text:     "who watches a network is not who runs it: a screen on the wall, or whoever gets at it, would take subscribers away and ask for codes of the page",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal, Destruction}, Module: InfrastructureAdmin,
		Source: "ITU-T X.805 8.1; OWASP ASVS V4.1.3", Access: []Access{Admin}, Viewer: true,
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 10, Time: 3 * time.Second},
		Variants: []Variant{{Position: LocalAccount, Controls: []secure.ControlID{secure.ManagementAuthenticationAdmin}, Run: operatesAsViewer}},
	}
}

// operatesAsViewer looks, as it may, asks for a code that lets somebody in at the page, and takes carol away.
func operatesAsViewer(ctx context.Context, f *Field, o *Outcome) error {
	call, hangUp := f.operatorsDoor(ctx)
	defer hangUp()
	looks, _, err := call("status", struct{}{})
	if err != nil {
		return err
	}
	if looks != http.StatusOK {
		return fmt.Errorf("attack: the account may look, and is answered %d", looks)
	}
	done, last := 0, 0
	verbs := map[string]any{"user.remove": named{f.Users[Carol].IMPI}, "group.remove": named{"nobody"}, "page.code": struct{}{}, "key.check": struct{}{}}
	for verb, in := range verbs {
		if last, _, err = call(verb, in); err != nil {
			return err
		}
		if last != http.StatusForbidden { // it was done, or tried
			done++
		}
	}
	o.Arrived("what it may look at is answered; %d verbs of the operator's are called, the last is answered %d", len(verbs), last)
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return err
	}
	answer, err := carol.RegisterAs(ctx, Registering{User: carol.User, Expires: 600})
	if err != nil {
		return err
	}
	gone := answer.Status() != 200
	o.Users = min(done, 1)
	o.Wire(done > 0, "%d of %d verbs of the operator's are done for an account that may look", done, len(verbs))
	o.Peer(gone, "carol's own registration is answered %d afterwards", answer.Status())
	return nil
}
