package gm_test

import (
	"testing"

	"imsafe/refpoint/gm"
)

func TestEmergency(t *testing.T) {
	e := gm.Emergency{Domain: "ims.example", Numbers: []string{"112"}}
	for uri, want := range map[string]bool{
		"urn:service:sos": true, "URN:Service:sos.fire": true, "urn:service:sosnot": false, "urn:service:counseling": false,
		"tel:112": true, "tel:112;phone-context=ims.example": true, "sip:112@ims.example;user=phone": true, "sip:112@ims.example": true,
		"sip:112;phone-context=x@ims.example;user=phone": true, "sip:112@other.example": false, "tel:1123": false, "tel:+112": false,
		"sip:alice@ims.example": false, "http://112": false, "": false,
	} {
		if got := e.Is([]byte(uri)); got != want {
			t.Errorf("%q: %v, want %v", uri, got, want)
		}
	}
}
