// Package durability kills a node again and again and compares what it had acknowledged with what is there.
//
// The node is a process of its own: the test binary starts itself again and runs what `imsafe run` runs, on a real
// directory, with sockets on loopback. The driver is a small SIP client over lab-udp and the operator's door; it shares
// nothing with the core but proto/sip and proto/aka. A kill is SIGKILL at any moment: what the kernel has, stays. What a
// power cut takes is for test/simulation and package store.
//
// Imported by its tests only.
package durability

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/store/seal"
	"imsafe/test/live"
)

// Domain is the home domain of the node: test network 001/01 (TS 23.003 13.2).
const Domain = "ims.mnc001.mcc001.3gppnetwork.org"

// The environment that makes the test binary a node.
const (
	childDir     = "IMSAFE_DURABILITY_DIR"
	childAddress = "IMSAFE_DURABILITY_ADDRESS"
)

// RunIfChild runs the node and ends the process, if this process was started to be one. For TestMain.
func RunIfChild() {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serve(dir, os.Getenv(childAddress)); err != nil {
			slog.Error("the node ended", "error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// configuration is a lab with one access, lab-udp.
func configuration(dir, address string) (*config.Config, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	c := config.Default()
	c.CI.Budget = config.Wide() // all clients share an address
	const much = 1 << 30        // a few clients stand for many
	c.Budget = config.Budget{Calls: much, Messages: much, Subscriptions: much, Transfers: much, Notifications: much, Others: much}
	c.Node.Lab, c.Node.DataDir, c.Node.Shards = true, filepath.Join(dir, "store"), 2
	c.IMS.Domain = Domain
	c.CI.LabUDP.Listen = []config.Address{{AddrPort: addr}}
	c.HSS.SealingKeyFile = config.SecretFile(filepath.Join(dir, "sealing.key"))
	c.Metrics.Listen = config.Address{}
	return &c, nil
}

// serve is the way of `imsafe run`, to its end.
func serve(dir, address string) (err error) {
	c, err := configuration(dir, address)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	keyring, err := node.LoadKeyring(c, "")
	if err != nil {
		return err
	}
	clock := shard.RealClock()
	st, err := node.OpenStore(c, clock, log, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	sockets, err := node.Listen(c, node.Shards(c), nil)
	if err != nil {
		return err
	}
	defer sockets.Close()
	n, err := node.New(node.Options{Config: c, Clock: clock, Random: rand.Reader, Log: log, Store: st, Keyring: keyring,
		Sockets: sockets, Policy: policy.Default(), Overload: live.Overload})
	if err != nil {
		return err
	}
	return n.Run(context.Background())
}

// newDirectory makes what the node needs before its first start.
func newDirectory(dir string) error {
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		return err
	}
	return keyring.Save(filepath.Join(dir, "sealing.key"))
}
