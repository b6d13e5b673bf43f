package main

import (
	"strings"
	"testing"
)

// Keys of TS 35.233, test set 2.
const (
	testK256 = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0"
	testTOP  = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
	testTOPc = "305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524"
)

// TestTUAK is the way of a card with TUAK: provisioned from files, at random and from a table, and registered by our client.
func TestTUAK(t *testing.T) {
	d := newDesk(t)
	k, top, topc := d.write("k", testK256), d.write("top", testTOP), d.write("topc", testTOPc)
	opc := d.write("opc", testK)
	add := func(more ...string) []string {
		return append([]string{"user", "add", "bob", "--algorithm", "tuak"}, more...)
	}
	for _, s := range []struct {
		name   string
		status int
		words  []string
		args   []string
	}{
		{"no keys", exitUsage, []string{"--topc-file", "--top-file", "--random"}, add()},
		{"OPc for TUAK", exitUsage, []string{"--topc-file"}, add("--k-file", k, "--opc-file", opc)},
		{"TOPc for Milenage", exitUsage, []string{"--opc-file"}, []string{"user", "add", "bob", "--k-file", k, "--topc-file", topc}},
		{"TOP and TOPc", exitUsage, []string{"top-file", "topc-file"}, add("--k-file", k, "--topc-file", topc, "--top-file", top)},
		{"both keys from standard input", exitUsage, []string{"one key"}, add("--k-file", "-", "--topc-file", "-")},
		{"another algorithm", exitUsage, []string{"milenage", "tuak"}, []string{"user", "add", "bob", "--algorithm", "comp128", "--random"}},
		{"TOPc too short", exitFailed, []string{"topc: 32 hexadecimal digits; 64 are needed"}, add("--k-file", k, "--topc-file", opc)},
		{"a TOP that is none, for a card file", exitFailed, []string{"top", "64 hexadecimal digits"}, add("--k-file", k, "--top-file", opc, "--card-out", d.path("none"))},
	} {
		t.Run(s.name, func(t *testing.T) { wantRefused(t, d.try(s.args...), s.status, s.words, s.args) })
	}
	d.do("user", "add", "topc", "--algorithm", "tuak", "--k-file", k, "--topc-file", topc, "--card-out", d.path("topc.card"))
	d.do("user", "add", "top", "--algorithm", "tuak", "--k-file", k, "--top-file", top, "--card-out", d.path("top.card"))
	d.do("user", "add", "short", "--algorithm", "tuak", "--k-file", opc, "--top-file", top, "--card-out", d.path("short.card"))
	d.do("user", "add", "chance", "--algorithm", "tuak", "--random", "--card-out", d.path("chance.card"))
	if card := d.read("top.card"); !strings.Contains(card, testTOPc) || strings.Contains(card, testTOP) {
		t.Error("a card holds TOPc, and TOP stays with the operator")
	}
	if shown := d.do("user", "show", "topc"); !strings.Contains(shown, "tuak") || strings.Contains(shown, testTOPc[4:12]) {
		t.Errorf("show: %s", shown)
	}
	d.do("user", "import", d.write("table.csv", "impi,ki,topc,algorithm\nrow@"+testDomain+","+testK256+","+testTOPc+",tuak\n"))
	if shown := d.do("user", "show", "row"); !strings.Contains(shown, "tuak") {
		t.Errorf("show: %s", shown)
	}
	stop := d.start()
	defer stop()
	for _, card := range []string{"topc.card", "top.card", "short.card", "chance.card"} {
		d.register(card)
	}
	d.write("odd.card", strings.Replace(d.read("topc.card"), `"tuak"`, `"comp128"`, 1))
	if o := d.call(t.Context(), "", d.client("register", "odd.card")...); o.status != exitFailed || !strings.Contains(o.stdout, "is not known") {
		t.Errorf("a card with another algorithm: %+v", o)
	}
}
