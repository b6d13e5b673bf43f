package pcscf

import (
	"regexp"
	"strings"
	"testing"

	"imsafe/test/kernelesp/machine"
	"imsafe/test/peer"
)

// TestRoom runs the tests of proto/xfrm in the other kernel, which has ESP: attacks, ends of lives, connections, with proto/esp as the UE.
func TestRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	t.Parallel() // each in a namespace and a process of its own
	if !peer.InNamespace(t) {
		return
	}
	k := machine.Boot(t, machine.UserMode(t), machine.Program{Name: "xfrm", Package: "imsafe/proto/xfrm", Test: true})
	out := k.Sh("cd /tmp; IMSAFE_TEST_ESP=1 /opt/xfrm -test.v -test.timeout 4m 2>&1")
	if !strings.HasSuffix(strings.TrimSpace(out), "PASS") || strings.Contains(out, "--- SKIP") {
		t.Errorf("in the other kernel:\n%s", out)
	}
	for _, name := range []string{"TestESP_exchange", "TestESP_attacks", "TestESP_no_association", "TestESP_life", "TestESP_streams", "TestProbe"} {
		if !strings.Contains(out, "--- PASS: "+name) {
			t.Errorf("%s did not run", name)
		}
	}
	out = k.Sh("cd /tmp; IMSAFE_TEST_ESP=1 /opt/xfrm -test.run - -test.bench Kernel -test.timeout 4m 2>&1")
	if !strings.HasSuffix(strings.TrimSpace(out), "PASS") {
		t.Errorf("in the other kernel:\n%s", out)
	}
	for _, line := range regexp.MustCompile(`(?m)^Benchmark.*$`).FindAllString(out, -1) {
		t.Log(line)
	}
}
