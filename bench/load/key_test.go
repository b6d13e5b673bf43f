package load

import "testing"

func TestParseSeat(t *testing.T) {
	text := "v=0\r\nc=IN IP4 127.0.0.9\r\nm=audio 10066 RTP/SAVP 8\r\na=crypto:1 AEAD_AES_256_GCM inline:AAAA\r\na=crypto:2 AEAD_AES_128_GCM inline:VG8hVA==\r\n"
	s, tag, err := ParseSeat(text, "AEAD_AES_128_GCM")
	if err != nil || tag != 2 || s.At.String() != "127.0.0.9:10066" || string(s.Key.Master) != "To!T" {
		t.Errorf("%+v, tag %d, %v", s, tag, err)
	}
	for _, bad := range []string{"", "c=IN IP4 x\r\n", "c=IN IP4 127.0.0.9\r\nm=audio 99999 RTP/AVP 8\r\n", "c=IN IP4 127.0.0.9\r\n"} {
		if _, _, err := ParseSeat(bad, ""); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, _, err := ParseSeat(text, "AES_CM_128_HMAC_SHA1_80"); err == nil {
		t.Error("a suite that is not there was found")
	}
}
