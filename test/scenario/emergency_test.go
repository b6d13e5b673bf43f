package scenario

import (
	"slices"
	"testing"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/test/lab"
)

// TestEmergency_registration_outlives_the_network: what the HSS ends leaves an emergency registration alone, and the answer says so (TS
// 24.229 5.4.8.4; TS 29.228 6.1.3.1).
func TestEmergency_registration_outlives_the_network(t *testing.T) {
	w, err := lab.New(lab.Options{Seed: 1, Emergency: "sip:psap@" + lab.Domain})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	n := w.Nodes[0]
	client := func(name string) *lab.Client {
		c, err := n.AddUser(lab.User{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, psap := client("alice"), client("psap")
	phone := n.AddDevice("phone", alice)
	for _, c := range []struct {
		client *lab.Client
		edits  []lab.Edit
	}{{alice, nil}, {psap, nil}, {phone, []lab.Edit{lab.Header("Contact", "<sip:phone@"+phone.Address.String()+";sos>")}}} {
		if _, err := c.client.Register(c.edits...); err != nil {
			t.Fatal(err)
		}
	}
	terminate := func() (a *cx.RegistrationTerminationAnswer) {
		if err := n.Call(func(task *shard.Task) {
			a, err = n.Core.SCSCF.RegistrationTermination(task, &cx.RegistrationTerminationRequest{IMPI: cx.IMPI(alice.IMPI), Reason: cx.PermanentTermination})
		}); err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := []cx.IdentityPair{{IMPI: cx.IMPI(alice.IMPI), IMPU: cx.IMPU(alice.IMPU)}}
	for range 2 {
		if a := terminate(); err != nil || a.Result != cx.ResultLimitedSuccess || !slices.Equal(a.Emergency, want) {
			t.Errorf("%+v, %v; want limited success with %v", a, err, want)
		}
	}
	psap.Send(sip.INVITE, alice.IMPU)
	if phone.Request("INVITE") == nil || alice.Request("INVITE") != nil {
		t.Errorf("the call back: %s, %s", phone.Pending(), alice.Pending())
	}
	phone.Answer(486)
	psap.Response(486)
}
