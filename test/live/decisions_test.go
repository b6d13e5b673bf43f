package live_test

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/node"
	"imsafe/refpoint/isc"
)

// TestDecisions: what is decided about a service stands in the log, in the order in which it was decided; who changes that is found out.
func TestDecisions(t *testing.T) {
	e := startEnrolling(t)
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
	var changed node.ServiceChanged
	e.Approve(m, screening, applied.Fingerprint, &changed)
	var issued imsservice.Issued
	e.Post(invited.Listen, invited.CA, "/v1/certificate", http.StatusOK, imsservice.Proof{Request: csr}, &issued)
	e.Call("service.suspend", node.SuspendService{Name: "screening"}, nil)
	e.Call("service.resume", node.Named{Name: "screening"}, nil)
	e.Call("service.revoke", node.RevokeService{Name: "screening"}, nil)

	var r node.LogReport
	e.Call("log.verify", node.VerifyLog{}, &r)
	if !r.Whole || r.SignedTo != r.Last || r.Head == "" {
		t.Errorf("%+v", r)
	}
	kept := node.VerifyLog{Head: r.Head}
	if e.Call("log.verify", kept, &r); !r.Whole {
		t.Errorf("with the head that it has named: %+v", r.Fault)
	}
	files, err := filepath.Glob(filepath.Join(e.Dir, "decisions", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	rest := string(text)
	for _, kind := range []string{"requested", "approved", "granted", "suspended", "resumed", "revoked"} {
		before, after, found := strings.Cut(rest, `"kind":"`+kind+`"`)
		if line, _, _ := strings.Cut(after, "\n"); !found || !strings.Contains(line, `"subject":"screening"`) {
			t.Errorf("%s does not stand behind %q", kind, before[max(len(before)-200, 0):])
		}
		rest = after
	}
	for _, secret := range []string{invited.Token, e.Users[0].IMPI, "PRIVATE"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if err := os.WriteFile(files[0], bytes.Replace(text, []byte(`"by":"operator"`), []byte(`"by":"somebody"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if e.Call("log.verify", node.VerifyLog{}, &r); r.Whole || r.Fault == nil || r.Fault.How != "edited" {
		t.Errorf("changed: %+v", r)
	}
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	r = node.LogReport{}
	if e.Call("log.verify", kept, &r); !r.Whole {
		t.Errorf("put back: %+v", r.Fault)
	}
}
