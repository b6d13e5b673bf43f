package pcscf

import (
	"encoding/xml"

	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// told reports whether a request is a function's word about a registration that came through here: a NOTIFY to our own Path entry that
// no client and no platform began.
func (p *PCSCF) told(in hop.Inbound) bool {
	if in.Msg.Method() != sip.NOTIFY || in.Msg.Has(sip.HdrRoute) {
		return false
	}
	if kind := in.Proof.Kind(); kind != secure.KindOrigin && kind != secure.KindNode {
		return false
	}
	uri, err := sip.ParseURI(in.Msg.RequestURI())
	return err == nil && string(uri.Host) == string(p.cfg.Name)
}

// pathEntry returns the association that a Path entry of ours names.
func (p *PCSCF) pathEntry(entry []byte) (secure.Association, bool) {
	uri, err := sip.ParseURI(entry)
	if err != nil {
		return secure.Association{}, false
	}
	place, genuine := p.ports.Sealer.Open(tokenPath, uri.User)
	return secure.Association(place), genuine
}

// reginfo is what is read of a registration event document (RFC 3680 5).
type reginfo struct {
	Registrations []struct {
		Contacts []struct {
			State string `xml:"state,attr"`
			URI   string `xml:"uri"`
		} `xml:"contact"`
	} `xml:"registration"`
}

// terminated reports whether a document says that contact has ended: of every identity that it was registered for.
func terminated(document []byte, contact string) bool {
	var info reginfo
	if xml.Unmarshal(document, &info) != nil {
		return false
	}
	ended := false
	for _, r := range info.Registrations {
		for _, c := range r.Contacts {
			if c.URI == contact && c.State != "terminated" {
				return false
			}
			ended = ended || c.URI == contact
		}
	}
	return ended
}
