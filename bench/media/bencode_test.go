package media

import "testing"

func TestBencode(t *testing.T) {
	if got := string(bencode([]any{"command", "offer", "flags", []string{"a", "bc"}})); got != "d7:command5:offer5:flagsl1:a2:bcee" {
		t.Error(got)
	}
	d, err := bdecode([]byte("d6:result2:ok4:tagsd1:a1:be4:list1:x5:counti-12e3:sdp3:v=0e"))
	if err != nil || d["result"] != "ok" || d["sdp"] != "v=0" || d["list"] != "x" {
		t.Errorf("%v, %v", d, err)
	}
	for _, bad := range []string{"", "d", "l1:ae", "d1:a", "d1:a9:xe", "d:xe", "di1e1:ae", "d1:ai1", "d1:al1:a", "d99999999:ae"} {
		if d, err := bdecode([]byte(bad)); err == nil {
			t.Errorf("%q is %v", bad, d)
		}
	}
}

func FuzzBdecode(f *testing.F) {
	f.Add([]byte("d6:result2:ok4:tagsd1:a1:bee"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = bdecode(b) })
}
