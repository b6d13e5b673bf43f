package live_test

import (
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"slices"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/iface/imsservice"
	"imsafe/imsbox/scscf"
	"imsafe/node"
	"imsafe/refpoint/isc"
	"imsafe/test/live"
)

const screening = `manifest = 1
service  = "screening"
provider = "example"
domain   = "` + live.Domain + `"
endpoint = "sips:screening.as.` + live.Domain + `:5061"
psi      = ["sip:screening@` + live.Domain + `"]
scopes   = ["session.proxy"]
users    = { groups = ["default"] }
limits   = { cps = 20, sessions = 200 }
expires  = 2099-12-31
[[trigger]]
case       = "terminating"
methods    = ["INVITE", "MESSAGE"]
when       = ["always", "unregistered"]
priority   = 1
on_failure = "reject"
`

// enrolling is a node with two subscribers and its operator.
type enrolling struct {
	*live.Operator
	t *testing.T
}

func startEnrolling(t *testing.T, configure ...func(*config.Config)) *enrolling {
	t.Helper()
	return &enrolling{live.StartOperated(t, 2, configure...), t}
}

// sets are the shared sets of the user's profile, as the HSS gives it out now.
func (e *enrolling) sets() []int {
	e.t.Helper()
	_, _, profile, err := e.HSS.ServiceProfileOf(e.Users[0].IMPI)
	if err != nil {
		e.t.Fatal(err)
	}
	return profile.SharedIFCSetIDs
}

// registration is the version of the user's registration at the S-CSCF: it changes with each profile that is pushed.
func (e *enrolling) registration() uint64 {
	e.t.Helper()
	rec, err := e.Store.Get(scscf.TableRegistration, []byte(e.Users[0].IMPI))
	if err != nil {
		e.t.Fatal(err)
	}
	return rec.Version
}

// TestEnrolment goes through the life of a service platform at a running node, with a user who is registered all the while.
func TestEnrolment(t *testing.T) {
	e := startEnrolling(t)
	var clients []*live.UE
	for _, u := range e.Users {
		x, err := e.UE(u, ue.IPsecUDP, nil)
		if err == nil {
			_, err = x.Register(e.Context)
		}
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, x)
	}
	// talks says whether a message gets through. The platform is not connected: while it is to be asked, its criterion rejects.
	talks := func(when string, want bool) {
		t.Helper()
		err := clients[1].SendMessage(e.Context, e.Users[0].IMPU, "text/plain", []byte("hello"))
		if (err == nil) != want {
			t.Errorf("%s: a message ends with %v", when, err)
		}
	}
	talks("before", true)
	var invited node.Invited
	e.Call("service.invite", node.InviteService{Seconds: 60}, &invited)
	m, err := isc.Parse([]byte(screening))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := ca.NewRequest(rand.Reader, key, m.Identity("a"), m.Host())
	if err != nil {
		t.Fatal(err)
	}
	var applied imsservice.Applied
	e.Post(invited.Listen, invited.CA, "/v1/enrol", http.StatusAccepted, imsservice.Application{Token: invited.Token, Manifest: []byte(screening), Request: csr}, &applied)
	var refused imsservice.Refusal
	e.Post(invited.Listen, invited.CA, "/v1/enrol", http.StatusForbidden, imsservice.Application{Token: invited.Token, Manifest: []byte(screening), Request: csr}, &refused)

	before := e.registration()
	var changed node.ServiceChanged
	e.Approve(m, screening, applied.Fingerprint, &changed)
	if set := changed.Service.Set; changed.Warning != "" || !slices.Equal(e.sets(), []int{set}) || len(e.Registry.Shared(set)) != 1 {
		t.Errorf("approved: %+v, the user has %v", changed, e.sets())
	}
	if after := e.registration(); after == before {
		t.Error("the S-CSCF was not told while the user is registered")
	}
	var issued imsservice.Issued
	e.Post(invited.Listen, invited.CA, "/v1/certificate", http.StatusOK, imsservice.Proof{Request: csr}, &issued)
	chain, err := ca.ParseCertificates([]byte(issued.Chain))
	if err != nil {
		t.Fatal(err)
	}
	talks("approved", false)
	e.bites("service.suspend", node.SuspendService{Name: "screening"}, chain, imsservice.StandingSuspended)
	talks("suspended", false) // it screens: not to be there is no reason to let pass
	var list node.Services
	e.Call("service.list", node.None{}, &list)
	if len(list.Services) != 1 || list.Services[0].State != imsservice.StateSuspended {
		t.Errorf("list: %+v", list.Services)
	}
	e.Call("service.resume", node.Named{Name: "screening"}, &changed)
	if !slices.Equal(e.sets(), []int{changed.Service.Set}) {
		t.Errorf("resumed: the user has %v", e.sets())
	}
	talks("resumed", false)
	e.bites("service.revoke", node.RevokeService{Name: "screening"}, chain, imsservice.StandingRevoked)
	talks("revoked", true)
	e.Post(invited.Listen, invited.CA, "/v1/certificate", http.StatusForbidden, imsservice.Proof{Request: csr}, &refused)
}

// bites makes a change that must be felt at once: the door is told before the verb answers, the peer is nobody's. Its users keep the set of one
// that is suspended: default handling decides then.
func (e *enrolling) bites(verb string, in any, chain []*x509.Certificate, want imsservice.Standing) {
	e.t.Helper()
	told := make(chan time.Time, 8)
	e.Registry.Watch(func(string) {
		select {
		case told <- time.Now():
		default:
		}
	})
	begun := time.Now()
	e.Call(verb, in, nil)
	select {
	case at := <-told:
		e.t.Logf("%s: the door was told after %s", verb, at.Sub(begun).Round(100*time.Microsecond))
	default:
		e.t.Errorf("%s: the door was not told", verb)
	}
	if _, standing := e.Registry.ByPeer(chain[0]); standing != want || (len(e.sets()) > 0) != (want == imsservice.StandingSuspended) {
		e.t.Errorf("%s: the peer stands %q, the user has %v", verb, standing, e.sets())
	}
}
