package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"imsafe/ca"
	"imsafe/config"
)

// A dev system takes service platforms as a production one does: it has an authority, and an approval key in its directory. In production
// neither the root nor that key is there.

// devApprover is the file of the approval key.
const devApprover = "approver.key"

// devApprover loads the approval key of a dev system's directory, or makes it, and returns its public half.
func (a *app) devApprover(dir string) (string, error) {
	path := filepath.Join(dir, devApprover)
	key, err := a.readApprover(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err = ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", err
		}
		var der []byte
		if der, err = x509.MarshalPKCS8PrivateKey(key); err == nil {
			err = newSecretFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		}
	}
	if err != nil {
		return "", err
	}
	return config.FormatApprovalKey(key.Public().(ed25519.PublicKey)), nil
}

// establish gives the system an authority of its own, if it has none. The root is forgotten: a dev system does not live so long.
func (d *dev) establish() error {
	authority := d.node.Authority
	if len(authority.Issuers()) > 0 {
		return nil
	}
	root, err := ca.NewRoot(rand.Reader, time.Now, d.config.HomeDomain(), 10*devLife)
	if err != nil {
		return err
	}
	request, err := authority.Request()
	if err != nil {
		return err
	}
	signed, err := root.Sign(request, 10*devLife)
	if err != nil {
		return err
	}
	return authority.Install(signed)
}

// tellServices says how a service platform joins.
func (d *dev) tellServices(a *app) {
	a.say("\nLet a service platform join, whose manifest is NAME.service.toml:")
	a.say("  imsafe service invite --socket %s    # prints what the platform types", d.config.ManagementSocket())
	a.say("  imsafe service approve NAME --fingerprint F --key %s --socket %s", filepath.Join(d.dir, devApprover), d.config.ManagementSocket())
}
