package pcscf

import (
	"context"
	"strings"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/secagree"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// TestKernelBackEnd registers phones at our P-CSCF in the other kernel, with every pair of algorithms that a profile has, over both families and
// both transports: they write, register again until three generations have been there, and leave.
func TestKernelBackEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	if !peer.InNamespace(t) {
		return
	}
	p := prepare(t, machine.Boot(t, machine.UserMode(t), machine.Program{Name: "imsafe", Package: "imsafe/cmd/imsafe"}))
	p.start()
	suites := secagree.Legacy().Suites
	transports := []ue.Transport{ue.IPsecUDP, ue.IPsecTCP}
	users := live.NewUsers("kernel", 2*len(suites)*len(transports), live.AKAv1)
	p.provision(users...)
	for family, name := range []string{"IPv4", "IPv6"} {
		for _, transport := range transports {
			for _, suite := range suites {
				user := users[0]
				users = users[1:]
				t.Run(name+"/"+transport.String()+"/"+suite.Alg+"+"+suite.EAlg, func(t *testing.T) {
					p.life(t, p.phone(t, user, family, transport, suite), suite)
				})
			}
		}
	}
}

// life is a phone's, from its first REGISTER to its last.
func (p *pcscf) life(t *testing.T, x *phone, suite secagree.Suite) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	defer func() {
		if t.Failed() {
			t.Log(p.log(), p.sh("/sbin/ip -s xfrm state; /sbin/ip xfrm policy; cat /proc/net/xfrm_stat"))
		}
	}()
	for range 3 {
		r, err := x.Register(ctx)
		if err != nil || !strings.HasPrefix(r.Protection, "IPsec ESP on IP, "+suite.Alg+"/"+suite.EAlg) {
			t.Fatalf("%q, %v", r.Protection, err)
		}
		for _, size := range []int{10, 3000} {
			x.writes(ctx, t, size)
		}
	}
	if err := x.Deregister(ctx); err != nil {
		t.Error(err)
	}
}
