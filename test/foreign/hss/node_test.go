package hss

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/test/live"
)

// free is a port on loopback that nobody has at the moment.
func free(t *testing.T) netip.AddrPort { return live.FreeAddress(t, "127.0.0.1").AddrPort }

func newAuthority(t *testing.T) *ca.CA {
	t.Helper()
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, live.Domain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// pkcs8 is a private key in a form that others read.
func pkcs8(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// network is our CSCFs in two nodes: P-CSCF and I-CSCF, and the S-CSCF. The HSS is elsewhere.
type network struct {
	authority    *ca.CA
	front, heart *live.Part
	lab, tls     netip.AddrPort    // where clients come
	inner        [2]netip.AddrPort // where the two hear each other
}

const (
	frontAddress, heartAddress = "127.0.0.3", "127.0.0.4"

	icscf = "icscf." + live.Domain
	scscf = "scscf." + live.Domain
)

// start starts them with the HSSs, the first of which is asked before the others. configure may change the configuration of both.
func start(t *testing.T, authority *ca.CA, hss []*foreign, configure func(*config.Config)) *network {
	t.Helper()
	n := &network{authority: authority}
	front, heart := config.Default(), config.Default()
	front.Node.Number, front.Node.Roles, front.Cx.Name = 1, []string{"pcscf", "icscf"}, icscf
	heart.Node.Number, heart.Node.Roles, heart.Cx.Name = 2, []string{"scscf"}, scscf
	front.Mw.Listen, heart.Mw.Listen = live.FreeAddress(t, frontAddress), live.FreeAddress(t, heartAddress)
	n.inner = [2]netip.AddrPort{front.Mw.Listen.AddrPort, heart.Mw.Listen.AddrPort}
	front.Mw.SCSCF = config.MwPeer{Address: heart.Mw.Listen, Certificate: "heart." + live.Domain, Keys: true}
	heart.Mw.PCSCF = config.MwPeer{Address: front.Mw.Listen, Certificate: "front." + live.Domain, Keys: true}
	heart.Mw.ICSCF = heart.Mw.PCSCF
	front.CI.LabUDP.Listen, front.CI.TLS.Listen = []config.Address{live.FreeAddress(t, frontAddress)}, []config.Address{live.FreeAddress(t, frontAddress)}
	n.lab, n.tls = front.CI.LabUDP.Listen[0].AddrPort, front.CI.TLS.Listen[0].AddrPort
	for _, c := range []*config.Config{&front, &heart} {
		c.Cx.Server, c.Cx.ServerName = config.Address{AddrPort: hss[0].at}, hss[0].host
		configure(c)
	}
	n.heart = live.StartPart(t, authority, &heart, "heart."+live.Domain, scscf)
	n.front = live.StartPart(t, authority, &front, "front."+live.Domain, icscf)
	n.served(t, hss...)
	return n
}

// served waits until all of these HSSs are in service at both nodes, and no other is.
func (n *network) served(t *testing.T, hss ...*foreign) {
	t.Helper()
	var peers []diameter.PeerStatus
	for end := time.Now().Add(2 * live.Patience); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		good := true
		for _, x := range []*live.Part{n.front, n.heart} {
			var err error
			if peers, err = x.CxPeers(t.Context()); err != nil {
				t.Fatal(err)
			}
			good = good && agrees(peers, hss)
		}
		if good {
			return
		}
	}
	t.Fatalf("the HSSs of the last node are %+v", peers)
}

// gaveUp waits until both nodes have closed their connections with an HSS that is silent.
func (n *network) gaveUp(t *testing.T, hss *foreign) {
	t.Helper()
	for _, x := range []*live.Part{n.front, n.heart} {
		for closed := false; !closed; <-time.After(20 * time.Millisecond) {
			peers, err := x.CxPeers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range peers {
				closed = closed || p.Host == hss.host && p.State != "open" && p.State != "suspect"
			}
		}
	}
}

func agrees(peers []diameter.PeerStatus, hss []*foreign) bool {
	for _, p := range peers {
		wanted := false
		for _, h := range hss {
			wanted = wanted || h.host == p.Host
		}
		if wanted != p.Up {
			return false
		}
	}
	return true
}

// handset is one of u over lab-udp.
func (n *network) handset(t *testing.T, u *live.User) *live.Handset {
	t.Helper()
	conn, err := net.Dial("udp", n.lab.String())
	if err != nil {
		t.Fatal(err)
	}
	return live.NewHandset(t, conn, "udp", u)
}
