package pcscf

import (
	"reflect"
	"testing"

	"imsafe/proto/slab"
	"imsafe/secure"
)

// TestKept: what is kept of a registration comes back as it was, and its sets of identities come and go each by itself.
func TestKept(t *testing.T) {
	p := &PCSCF{registrations: slab.New(slab.Config{})}
	a := secure.Association{Node: 1, Slot: 2, Gen: 3}
	k := kept{contact: "sip:alice@10.0.0.1", edge: edgeTLS, route: []string{"<sip:orig@scscf;lr>"}}
	home, work := []string{"sip:alice@ims", "tel:+1"}, []string{"sip:work@ims"}
	for _, step := range []struct {
		name, impu string
		identities []string
		want       [][]string
	}{
		{"first", "sip:alice@ims", home, [][]string{home}},
		{"refreshed_by_another_of_its_identities", "tel:+1", home, [][]string{home}},
		{"second", "sip:work@ims", work, [][]string{home, work}},
		{"first_has_grown", "sip:alice@ims", []string{"sip:alice@ims", "tel:+1", "tel:+2"}, [][]string{{"sip:alice@ims", "tel:+1", "tel:+2"}, work}},
		{"identity_that_is_barred_itself", "sip:barred@ims", work, [][]string{{"sip:alice@ims", "tel:+1", "tel:+2"}, work}},
		{"first_ends", "tel:+2", nil, [][]string{work}},
		{"unknown_ends", "sip:nobody@ims", nil, [][]string{work}},
		{"second_ends", "sip:work@ims", nil, nil},
	} {
		k.replaceSet(step.impu, step.identities)
		p.keep(a, k)
		got, found := p.kept(a)
		if !found || got.contact != k.contact || got.edge != edgeTLS || !reflect.DeepEqual(got.route, k.route) || !reflect.DeepEqual(got.sets, step.want) {
			t.Errorf("%s: %+v, want sets %q", step.name, got, step.want)
		}
		k = got
	}
}
