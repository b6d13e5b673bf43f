package wire

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/test/live"
)

// TestIPsec_apart is a client inside security associations whose P-CSCF, S-CSCF and HSS are three processes' worth of nodes: the session keys go from
// the HSS to the P-CSCF over two wires, inside mutual TLS, and are found on neither. Where the S-CSCF is not told that the P-CSCF may have
// keys, it gets none, and no challenge goes out that nothing protects.
func TestIPsec_apart(t *testing.T) {
	for name, keys := range map[string]bool{"with keys": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			nat := live.FreeAddress(t, "127.0.0.1").Port()
			gm := live.FreeAddress(t, "127.0.0.1")
			a := startApart(t, func(edge, heart, _ *config.Config) {
				edge.CI.IPsec.Listen, edge.CI.IPsec.ESP, edge.CI.IPsec.NATPort = []config.Address{gm}, "off", nat
				heart.Mw.PCSCF.Keys = keys
				edge.Mw.SCSCF.Keys, edge.Mw.ICSCF.Keys = keys, keys
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var k aka.K
			var op aka.OP
			rand.Read(k[:]) // never fails
			rand.Read(op[:])
			opc := aka.DeriveOPc(k, op)
			identity := isim.Identity{IMPI: "sim@" + live.Domain, HomeDomain: live.Domain, IMPUs: []string{"sip:sim@" + live.Domain}}
			if err := a.home.HSS.Add(ctx, &hss.Subscriber{Card: hss.Card{IMPI: identity.IMPI, K: hss.Secret(hex.EncodeToString(k[:])),
				OPc: hss.Secret(hex.EncodeToString(opc[:])), Scheme: live.AKAv1}, Public: []hss.Public{{IMPU: identity.IMPUs[0]}}}); err != nil {
				t.Fatal(err)
			}
			watch := &watchedCard{Algorithm: aka.NewMilenage(k, opc)}
			card, err := isim.New(isim.Config{Identity: identity, K: k, OPc: opc, Algorithm: watch, State: isim.Volatile{}})
			if err != nil {
				t.Fatal(err)
			}
			messages := make(chan ue.Message, 1)
			client, err := ue.New(ue.Config{Card: card, Proxy: gm.AddrPort, Transport: ue.IPsecUDP, IPsec: ue.IPsec{NATPort: nat}, Clock: shard.RealClock(), Rand: rand.Reader,
				ListenPacket: func(local netip.Addr) (net.PacketConn, error) {
					return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
				}, OnMessage: func(m ue.Message) { messages <- m }})
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = client.Run(ctx) }()
			_, err = client.Register(ctx)
			var refused *ue.StatusError
			switch {
			case !keys && errors.As(err, &refused):
				return
			case !keys:
				t.Fatalf("a P-CSCF that may have no keys has let a challenge out: %v", err)
			case err != nil:
				t.Fatalf("%v\n%s\n%s", err, a.edge.Log(), a.heart.Log())
			}
			if err := client.SendMessage(ctx, identity.IMPUs[0], "text/plain", []byte("to myself")); err != nil {
				t.Fatal(err)
			}
			select {
			case <-messages:
			case <-ctx.Done():
				t.Fatal("the message did not come")
			}
			if len(watch.keys) == 0 {
				t.Fatal("no keys were watched")
			}
			for _, secret := range watch.keys {
				if a.holds(secret) {
					t.Error("a session key stands on a wire")
				}
			}
			if err := client.Deregister(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// watchedCard keeps the session keys that a card computes.
type watchedCard struct {
	aka.Algorithm
	keys []string
}

// F2345 implements aka.Algorithm.
func (w *watchedCard) F2345(r aka.RAND) (aka.RES, aka.CK, aka.IK, aka.AK) {
	res, ck, ik, ak := w.Algorithm.F2345(r)
	w.keys = append(w.keys, hex.EncodeToString(ck[:]), hex.EncodeToString(ik[:]))
	return res, ck, ik, ak
}
