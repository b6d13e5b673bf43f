package scscf

import (
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// passwordHSS knows one subscriber, by the algorithm given.
type passwordHSS struct {
	cx.Server
	algorithm aka.DigestAlgorithm
}

func (h passwordHSS) MultimediaAuth(_ *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	if r.Scheme != cx.SchemeUnknown {
		return nil, cx.ErrAuthSchemeNotSupported
	}
	ha1 := h.algorithm.AppendHA1(nil, []byte(r.IMPI), []byte("ims.example"), []byte("a password"))
	return &cx.MultimediaAuthAnswer{Items: []cx.AuthDataItem{{Algorithm: h.algorithm, Digest: &cx.DigestAuthenticate{Realm: "ims.example",
		Algorithm: h.algorithm, QOP: "auth", HA1: cx.NewSecretHex(string(ha1))}}}}, nil
}

// TestDigest_is_for_TLS_of_known_clients: outside TLS, from nowhere, or by an algorithm that is not admitted there is not even
// a challenge.
func TestDigest_is_for_TLS_of_known_clients(t *testing.T) {
	client := mint.Client{Peer: "192.0.2.1:5061", Association: here.association, Profile: "tls", Protected: true}
	for name, c := range map[string]struct {
		protection hop.Protection
		proof      secure.Proof
		algorithm  aka.DigestAlgorithm
		admitted   []aka.DigestAlgorithm
		want       int
		control    bool // refused by the control, not for another reason
	}{
		"over TLS":                     {hop.ProtectionTLSConnected, mint.Access(client), aka.SHA256, []aka.DigestAlgorithm{aka.SHA256}, 401, false},
		"in clear":                     {hop.ProtectionNo, mint.Access(client), aka.SHA256, []aka.DigestAlgorithm{aka.SHA256}, 403, true},
		"P-CSCF that does not say":     {hop.ProtectionAbsent, mint.Access(client), aka.SHA256, []aka.DigestAlgorithm{aka.SHA256}, 403, true},
		"inside IPsec":                 {hop.ProtectionYes, mint.Access(client), aka.SHA256, []aka.DigestAlgorithm{aka.SHA256}, 403, true},
		"from another node":            {hop.ProtectionTLSConnected, mint.Node("pcscf.other.example"), aka.SHA256, []aka.DigestAlgorithm{aka.SHA256}, 403, true},
		"MD5 where it is not admitted": {hop.ProtectionTLSConnected, mint.Access(client), aka.MD5, []aka.DigestAlgorithm{aka.SHA256}, 403, false},
		"MD5 in its profile":           {hop.ProtectionTLSConnected, mint.Access(client), aka.MD5, []aka.DigestAlgorithm{aka.MD5}, 401, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{Digest: c.admitted}, passwordHSS{algorithm: c.algorithm})
			if err := r.table.Plug("scscf.ims.example", r.SCSCF); err != nil {
				t.Fatal(err)
			}
			m := r.parse(t, "REGISTER sip:scscf.ims.example SIP/2.0\r\nVia: SIP/2.0/TLS ue;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"+
				"From: <sip:soft@ims.example>;tag=a\r\nTo: <sip:soft@ims.example>\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\nContact: <sip:soft@192.0.2.1>\r\n\r\n")
			edge := &lastReply{}
			r.shard.Exec(shard.EventFunc(func(sh *shard.Shard) {
				r.table.Begin(sh, edge, "door", "scscf.ims.example", hop.Inbound{Msg: m.Clone(), Proof: c.proof, Protection: c.protection}, m)
			}))
			r.clock.Advance(time.Second)
			r.shard.Step(r.clock.Now())
			refused, _ := r.gate.Counts(secure.CIAuthenticationDigestPolicy)
			if edge.status != c.want || (refused > 0) != c.control {
				t.Errorf("%d, %d refusals by the control; want %d", edge.status, refused, c.want)
			}
		})
	}
}
