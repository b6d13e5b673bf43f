package scenario

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// TestRegister_way: a REGISTER goes from the P-CSCF to the home network and nowhere else, whatever its client has written into Request-URI and Route: some
// telephones know the address of their P-CSCF alone (TS 24.229 5.1.1.2), and one that names the S-CSCF would come there past the I-CSCF, which
// asks the HSS whether he may register here (TS 24.229 5.2.2, 5.3.1.2).
func TestRegister_way(t *testing.T) {
	home := []byte("REGISTER sip:" + lab.Domain + " SIP/2.0\r\n")
	for name, edit := range map[string]lab.Edit{
		"by an address":           func(m *sip.Message) { m.SetRequestURI([]byte("sip:10.0.0.1:5060")) },
		"to the S-CSCF":           func(m *sip.Message) { m.SetRequestURI([]byte("sip:scscf." + lab.Domain)) },
		"by Route to the S-CSCF":  lab.Header("Route", "<sip:scscf."+lab.Domain+";lr>"),
		"by Route to the P-CSCF":  lab.Header("Route", "<sip:10.0.0.1:5060;lr>"),
		"by Route, as originator": lab.Header("Route", "<sip:orig@scscf."+lab.Domain+";lr>"),
	} {
		for _, split := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " split=", split), func(t *testing.T) {
				w, err := lab.New(lab.Options{Seed: 1, Split: split, Tap: func(from, _ netip.AddrPort, data []byte) {
					if from.Port() == 5070 && bytes.HasPrefix(data, []byte("REGISTER ")) && (!bytes.HasPrefix(data, home) || bytes.Contains(data, []byte("\r\nRoute:"))) {
						t.Errorf("inside goes\n%s", data)
					}
				}})
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				alice, err := w.Nodes[0].AddUser(lab.User{Name: "alice"})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := alice.Register(edit); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
