package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"imsafe/proto/aka"
)

// tuak is the name of the algorithm in flags, card files and provisioning; Milenage is what is meant without a name.
const tuak = "tuak"

// tuakKeys reads K and TOPc or TOP from where the flags say.
func (v *userAddCmd) tuakKeys(a *app, s *newSubscriber) (err error) {
	switch {
	case v.Random:
		s.K, s.TOPc, err = randomTUAK()
		return err
	case v.Prompt:
		if s.K, err = a.ask("K"); err == nil {
			s.TOPc, err = a.ask("TOPc")
		}
		return err
	case v.KFile == "" || v.TOPcFile == "" && v.TOPFile == "":
		return usage{errors.New("the card's keys are missing: TUAK has --k-file and --topc-file (or --top-file), --prompt, or --random for a soft card")}
	case v.KFile == "-" && (v.TOPcFile == "-" || v.TOPFile == "-"):
		return usage{errors.New("standard input can carry one key; put the other into a file")}
	}
	if s.K, err = a.readKey(v.KFile); err != nil {
		return err
	}
	if s.TOPc, err = a.readKey(v.TOPcFile); err != nil {
		return err
	}
	s.TOP, err = a.readKey(v.TOPFile)
	return err
}

// randomTUAK makes K of 256 bits and, with a TOP that nobody keeps, TOPc.
func randomTUAK() (k, topc keyText, err error) {
	var key aka.K256
	var top aka.TOP
	for _, b := range [][]byte{key[:], top[:]} {
		if _, err := rand.Read(b); err != nil {
			return "", "", err
		}
	}
	derived := aka.DeriveTOPc256(key, top)
	return keyText(hex.EncodeToString(key[:])), keyText(hex.EncodeToString(derived[:])), nil
}

// bindTOP computes TOPc from K, of either length, and TOP.
func bindTOP(k, top keyText) (keyText, error) {
	t, err := aka.ParseTOP(string(top))
	if err != nil {
		return "", fmt.Errorf("card: top: %w", err)
	}
	var topc aka.TOPc
	if short, err := aka.ParseK(string(k)); err == nil {
		topc = aka.DeriveTOPc(short, t)
	} else if long, err := aka.ParseK256(string(k)); err == nil {
		topc = aka.DeriveTOPc256(long, t)
	} else {
		return "", fmt.Errorf("card: k: %w", err)
	}
	return keyText(hex.EncodeToString(topc[:])), nil
}

// algorithm makes what the card computes with.
func (c *cardFile) algorithm() (aka.Algorithm, error) {
	switch c.Algorithm {
	case "":
		k, err := aka.ParseK(string(c.K))
		if err != nil {
			return nil, fmt.Errorf("k: %w", err)
		}
		opc, err := aka.ParseOPc(string(c.OPc))
		if err != nil {
			return nil, fmt.Errorf("opc: %w", err)
		}
		return aka.NewMilenage(k, opc), nil
	case tuak:
		topc, err := aka.ParseTOPc(string(c.TOPc))
		if err != nil {
			return nil, fmt.Errorf("topc: %w", err)
		}
		if k, err := aka.ParseK(string(c.K)); err == nil {
			return aka.NewTUAK(k, topc, aka.TUAKOptions{})
		}
		k, err := aka.ParseK256(string(c.K))
		if err != nil {
			return nil, fmt.Errorf("k: %w", err)
		}
		return aka.NewTUAK256(k, topc, aka.TUAKOptions{})
	}
	return nil, fmt.Errorf("algorithm %q is not known", c.Algorithm)
}
