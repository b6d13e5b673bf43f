package sqlite

import (
	"bytes"
	"testing"
)

// TestPrefixEnd: the first key after all that have the prefix, for octets of every kind.
func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "a": "b", "a\xff": "b", "a\xfe": "a\xff", "\xff\xff": "", "a\xfe\xff": "a\xff", "\xc3\xa4": "\xc3\xa5"} {
		given := []byte(prefix)
		if got := prefixEnd(given); string(got) != want || !bytes.Equal(given, []byte(prefix)) {
			t.Errorf("after %q: %q, want %q; the prefix is %q now", prefix, got, want, given)
		}
	}
}
