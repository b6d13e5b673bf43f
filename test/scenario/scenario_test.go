package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/hop"
	"imsafe/test/lab"
)

// TestScenario plays every script, with messages handed over as they are and with every hop encoded and parsed.
func TestScenario(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range scripts {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		for mode, m := range map[string]hop.Mode{"direct": hop.Direct, "strict": hop.Strict} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				Play(t, string(script), lab.Options{Mode: m, Seed: 1})
			})
		}
		t.Run(name+"/wire", func(t *testing.T) {
			Play(t, string(script), lab.Options{Seed: 1, Split: true, Apart: true}) // P-CSCF, other CSCFs and HSS, each alone
		})
		t.Run(name+"/hss_apart", func(t *testing.T) {
			Play(t, string(script), lab.Options{Seed: 1, Apart: true})
		})
		t.Run(name+"/two_shards", func(t *testing.T) {
			Play(t, string(script), lab.Options{Seed: 1, Shards: 2})
		})
	}
}
