package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"imsafe/config"
)

type approverCmd struct {
	New approverNewCmd `cmd:"" help:"Make an operator's approval key, with which service platforms are approved. Not on the machine of the core."`
}

type approverNewCmd struct {
	File string `arg:"" help:"The new key file; it is never written over one that is there." type:"path"`
}

// Run makes the key and prints what the core is told.
func (v *approverNewCmd) Run(a *app) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	defer clear(der)
	if err := newSecretFile(v.File, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	text := config.FormatApprovalKey(public)
	if a.json {
		a.print(map[string]string{"file": v.File, "public": text})
		return nil
	}
	a.say("%s is made, for its owner alone. Keep it away from the core: who has it decides what services may do.", v.File)
	a.say("The core's configuration gets its public half:\n\n[is]\napproval_keys = [%q]", text)
	return nil
}

// readApprover reads an approval key.
func (a *app) readApprover(path string) (ed25519.PrivateKey, error) {
	text, err := a.readSecret(path, 4096)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	block, _ := pem.Decode(text)
	if block != nil {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if private, ok := key.(ed25519.PrivateKey); ok {
				return private, nil
			}
		}
	}
	return nil, fmt.Errorf("%s is no approval key: `imsafe approver new` makes one", path)
}
