package node

import (
	"net/netip"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/test/peer"
)

// TestChooseBackEnd: this process by default, the kernel where it can do all that is configured, and a start that fails in the words of what is
// missing where it was asked for and cannot.
func TestChooseBackEnd(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	c := config.Default()
	c.CI.IPsec.Listen = []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:5060")}}
	if x, err := chooseBackEnd(&c); x != nil || err != nil {
		t.Errorf("by default: %+v, %v", x, err)
	}
	c.CI.IPsec.Backend = "auto"
	x, err := chooseBackEnd(&c)
	if err != nil || x.Why == "" {
		t.Fatal(x, err)
	}
	defer x.Close()
	c.CI.IPsec.Backend = "kernel"
	forced, err := chooseBackEnd(&c)
	if x.carries() { // a kernel with ESP
		if err != nil || !forced.carries() {
			t.Error(err)
		}
		forced.Close()
		return
	}
	t.Log(x.Why)
	if err == nil || !strings.Contains(err.Error(), x.Why) || !strings.Contains(err.Error(), `backend = "user"`) {
		t.Errorf("%v, and auto says %q", err, x.Why)
	}
	if !strings.Contains(x.Why, "load the module") && !strings.Contains(x.Why, "load their modules") && !strings.Contains(x.Why, "CONFIG_XFRM_USER") {
		t.Errorf("%q does not say what helps", x.Why)
	}
}
