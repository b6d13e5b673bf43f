package diameter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imsafe/proto/aka"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxwire"
	"imsafe/test/capture"
	"imsafe/test/peer"
)

// everything answers with every information element there is, so that tshark sees each of our AVPs.
type everything struct{}

func restored() cx.RestorationInfo {
	return cx.RestorationInfo{IMPI: "001010000000001@ims.example", RegistrationTimeOut: 1_800_000_000, AuthScheme: "Digest-AKAv1-MD5",
		Contacts: []cx.RestorationContact{{Path: "<sip:p;lr>", Contact: "<sip:a@b>", InitialCSeq: 7, CallID: "c",
			Subscription: &cx.SubscriptionInfo{CallID: "1", From: "2", To: "3", RecordRoute: "4", Contact: "5"},
			PCSCF:        &cx.SubscriptionInfo{CallID: "6", From: "7", To: "8", RecordRoute: "9", Contact: "10"}}}}
}

func (everything) UserAuthorization(_ *shard.Task, r *cx.UserAuthorizationRequest) (*cx.UserAuthorizationAnswer, error) {
	if r.Emergency {
		return nil, cx.ErrUserUnknown
	}
	return &cx.UserAuthorizationAnswer{Result: cx.ResultFirstRegistration, Capabilities: &cx.ServerCapabilities{Mandatory: []uint32{1},
		Optional: []uint32{2}, ServerNames: []string{"sip:scscf.ims.example"}}}, nil
}

func (everything) LocationInfo(*shard.Task, *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	return &cx.LocationInfoAnswer{Result: cx.ResultSuccess, ServerName: "sip:as.ims.example", WildcardedIMPU: "sip:!.*!@ims.example", PSIDirectRouting: true}, nil
}

func (everything) ServerAssignment(*shard.Task, *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	return &cx.ServerAssignmentAnswer{Result: cx.ResultSuccess, IMPI: "001010000000001@ims.example", Profile: &cx.UserProfile{IMPI: "001010000000001@ims.example",
		ServiceProfiles: []cx.ServiceProfile{{SubscribedMediaProfile: -1, PublicIdentities: []cx.PublicIdentity{{Identity: "sip:a@ims.example", ServicePriorityLevel: -1}}}}},
		Charging: &cx.ChargingInformation{PrimaryECF: "aaa://ecf.ims.example", SecondaryECF: "aaa://ecf2.ims.example",
			PrimaryCCF: "aaa://ccf.ims.example", SecondaryCCF: "aaa://ccf2.ims.example"},
		AssociatedIdentities: []cx.IMPI{"001010000000002@ims.example"}, LooseRoute: true, Restoration: []cx.RestorationInfo{restored()},
		AssociatedRegistered: []cx.IMPI{"001010000000002@ims.example"}, WildcardedIMPU: "sip:!.*!@ims.example", PriviledgedSender: true, AllowedWAF: []string{"waf.example"}}, nil
}

func (everything) MultimediaAuth(_ *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	v := aka.Vector{RAND: aka.RAND{1}, AUTN: aka.AUTN{2}, XRES: aka.NewRES(make([]byte, 8)), CK: aka.CK{3}, IK: aka.IK{4}}
	return &cx.MultimediaAuthAnswer{Result: cx.ResultSuccess, IMPI: r.IMPI, IMPU: r.IMPU, Items: []cx.AuthDataItem{{Algorithm: aka.AKAv2SHA256, Vector: v},
		{Digest: &cx.DigestAuthenticate{Realm: "ims.example", Algorithm: aka.MD5, QOP: "auth", HA1: cx.NewSecretHex("00112233445566778899aabbccddeeff")}}}}, nil
}

func (everything) RegistrationTermination(*shard.Task, *cx.RegistrationTerminationRequest) (*cx.RegistrationTerminationAnswer, error) {
	return &cx.RegistrationTerminationAnswer{Result: cx.ResultLimitedSuccess, AssociatedIdentities: []cx.IMPI{"001010000000002@ims.example"},
		Emergency: []cx.IdentityPair{{IMPI: "001010000000001@ims.example", IMPU: "sip:a@ims.example"}}}, nil
}

func (everything) PushProfile(*shard.Task, *cx.PushProfileRequest) (*cx.PushProfileAnswer, error) {
	return nil, cx.ErrNotSupportedUserData
}

// cxPair is both sides of Cx, joined by mutual TLS over loopback, whose keys go to keylog for the reader of a capture. H(A1) goes by
// nothing else. It returns the port, too.
func cxPair(t *testing.T, keylog io.Writer) (*cxwire.Server, *cxwire.Client, *shard.Shard, int) {
	t.Helper()
	b := newTable(t, keylog)
	shards := []*shard.Shard{b.on}
	server, err := cxwire.NewServer(cxwire.ServerConfig{HSS: everything{}, Shards: shards, Hosts: map[string]string{"sip:s": ours}})
	b.must(err)
	client, err := cxwire.NewClient(cxwire.ClientConfig{Realm: realm, SCSCF: everything{}, ServerName: "sip:s", Shards: shards})
	b.must(err)
	ln, port := b.listen()
	hss := b.node(theirs, 2, server.Application(), diameter.PeerConfig{Host: ours, Role: cxwire.RoleCSCF()})
	cscf := b.node(ours, 3, client.Application(), diameter.PeerConfig{Host: theirs, Role: cxwire.RoleHSS(), Dial: dialPort(port)})
	server.Bind(hss)
	client.Bind(cscf)
	b.run(t, ln, hss, cscf)
	<-b.up
	<-b.up
	return server, client, b.on, port
}

// Every command of Cx with every AVP that we send, read by tshark in a capture of what the wire had.
func TestTshark_reads_Cx(t *testing.T) {
	peer.Need(t, "tshark")
	if !peer.InNamespace(t) {
		return
	}
	keylog, err := os.Create(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	c := capture.New(t, "-o", "tls.keylog_file:"+keylog.Name())
	c.During(t, func() {
		server, client, sh, port := cxPair(t, keylog)
		c.Decode = append(c.Decode, "-d", fmt.Sprintf("tls.port==%d,diameter", port))
		ask(t, server, client, sh)
	})
	if frames := strings.Fields(c.Tshark(t, "-Y", "diameter.cmd.code >= 300", "-T", "fields", "-E", "occurrence=a", "-e", "diameter.cmd.code")); len(frames) < 14 {
		t.Errorf("tshark sees %v", frames)
	}
	if !strings.Contains(c.Tshark(t, "-Y", "diameter.Digest-HA1", "-T", "fields", "-e", "diameter.Digest-HA1"), "00112233445566778899aabbccddeeff") {
		t.Error("tshark sees no H(A1), which was sent")
	}
	_, against := c.Judge(t, "diameter", "tcp")
	for _, complaint := range against {
		if !slices.ContainsFunc(gaps, func(gap string) bool { return strings.HasSuffix(complaint, gap) }) {
			t.Error(complaint)
		}
	}
	if raw, err := os.ReadFile(c.File); err != nil || bytes.Contains(raw, []byte("00112233445566778899aabbccddeeff")) {
		t.Errorf("H(A1) went in clear: %v", err)
	}
}

// ask asks everything.
func ask(t *testing.T, server *cxwire.Server, client *cxwire.Client, sh *shard.Shard) {
	t.Helper()
	err := sh.Call(context.Background(), func(task *shard.Task) {
		good := func(what string, err error) {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		impi, impu := cx.IMPI("001010000000001@ims.example"), cx.IMPU("sip:a@ims.example")
		_, err := client.UserAuthorization(task, &cx.UserAuthorizationRequest{IMPI: impi, IMPU: impu, VisitedNetworkID: "ims.example", Type: cx.DeRegistration})
		good("UAR", err)
		_, err = client.UserAuthorization(task, &cx.UserAuthorizationRequest{IMPI: impi, IMPU: impu, VisitedNetworkID: "ims.example", Emergency: true})
		if cx.ResultOf(err) != cx.ResultUserUnknown {
			t.Errorf("UAR: %v", err)
		}
		_, err = client.LocationInfo(task, &cx.LocationInfoRequest{IMPU: impu, Originating: true, Type: cx.RegistrationAndCapabilities, SessionPriority: cx.Priority4})
		good("LIR", err)
		_, err = client.MultimediaAuth(task, &cx.MultimediaAuthRequest{IMPI: impi, IMPU: impu, ServerName: "sip:s", Scheme: cx.SchemeDigestAKA, Items: 2, Resync: new(cx.Resync)})
		good("MAR", err)
		info := restored()
		_, err = client.ServerAssignment(task, &cx.ServerAssignmentRequest{IMPI: impi, IMPUs: []cx.IMPU{impu, "tel:+15550001"}, ServerName: "sip:s",
			Type: cx.AssignRegistration, WildcardedIMPU: "sip:!.*!@ims.example", Restoration: &info, MultipleRegistration: true, SessionPriority: cx.Priority0, PCSCFRestoration: true})
		good("SAR", err)
		push := server.Push("sip:s")
		_, err = push.RegistrationTermination(task, &cx.RegistrationTerminationRequest{IMPI: impi, IMPUs: []cx.IMPU{impu},
			AssociatedIdentities: []cx.IMPI{"001010000000002@ims.example"}, Reason: cx.ServerChange, ReasonInfo: "why", ReferenceLocationInfo: true})
		good("RTR", err)
		_, err = push.PushProfile(task, &cx.PushProfileRequest{IMPI: impi, Charging: &cx.ChargingInformation{PrimaryCCF: "aaa://ccf.ims.example"},
			AllowedWAF: []string{"waf.example"}, Digest: &cx.DigestAuthenticate{Realm: realm, Algorithm: aka.MD5, QOP: "auth", HA1: cx.NewSecretHex("00")}})
		if cx.ResultOf(err) != cx.ResultNotSupportedUserData {
			t.Errorf("PPR: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
