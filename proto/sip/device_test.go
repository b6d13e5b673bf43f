package sip

import (
	"slices"
	"testing"
)

func TestSplitParams(t *testing.T) {
	for in, want := range map[string][]string{`a=1;b="x;\";y" ; c`: {"a=1", `b="x;\";y"`, "c"}, "": nil, ";;": nil, `a="`: {`a="`}, `a="\`: {`a="\`}} {
		var got []string
		for p := range splitParams([]byte(in)) {
			got = append(got, string(p))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
