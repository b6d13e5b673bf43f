package diameter

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/refpoint/sh/shwire"
	"imsafe/test/capture"
	"imsafe/test/peer"
)

// everySh answers with every information element there is, so that tshark sees each of our AVPs.
type everySh struct{}

func everyData() *sh.Data {
	state, server, active := sh.Registered, "sip:scscf.ims.example", true
	return &sh.Data{Identifiers: &sh.PublicIdentifiers{IMPUs: []sh.IMPU{"sip:a@ims.example"}, MSISDNs: []string{"15550001"}},
		Repository: []sh.RepositoryData{{ServiceIndication: "greeting", SequenceNumber: 7, ServiceData: []byte(`<g:a xmlns:g="urn:g">hello</g:a>`)}},
		IMS: &sh.IMSData{SCSCFName: &server, UserState: &state, PSIActivation: &active, DSAI: []sh.DSAI{{Tag: "mail", Active: true}},
			Criteria: &[]cx.InitialFilterCriteria{{Priority: 1, Server: cx.ApplicationServer{ServerName: "sip:as.ims.example"}}},
			Charging: &cx.ChargingInformation{PrimaryCCF: "aaa://ccf.ims.example"}}}
}

func (everySh) UserData(_ *shard.Task, r *sh.UserDataRequest) (*sh.UserDataAnswer, error) {
	if r.Reference == sh.RefLocationInformation {
		return nil, sh.ErrUserDataCannotBeRead
	}
	return &sh.UserDataAnswer{Data: everyData(), WildcardedPSI: "sip:!.*!@ims.example"}, nil
}

func (everySh) ProfileUpdate(*shard.Task, *sh.ProfileUpdateRequest) (*sh.ProfileUpdateAnswer, error) {
	return &sh.ProfileUpdateAnswer{WildcardedIMPU: "sip:!.*!@ims.example"}, nil
}

func (everySh) SubscribeNotifications(_ *shard.Task, r *sh.SubscribeNotificationsRequest) (*sh.SubscribeNotificationsAnswer, error) {
	return &sh.SubscribeNotificationsAnswer{Data: everyData(), ExpiryTime: r.ExpiryTime}, nil
}

func (everySh) PushNotification(*shard.Task, *sh.PushNotificationRequest) error {
	return sh.ErrNoSubscriptionToData
}

// shPair is both sides of Sh, joined by mutual TLS over loopback, whose keys go to keylog for the reader of a capture.
func shPair(t *testing.T, keylog io.Writer) (*shwire.Server, *shwire.Client, *shard.Shard, int) {
	t.Helper()
	b := newTable(t, keylog)
	shards := []*shard.Shard{b.on}
	server, err := shwire.NewServer(shwire.ServerConfig{HSS: everySh{}, Shards: shards, Service: func(string) string { return "service" }})
	b.must(err)
	client, err := shwire.NewClient(shwire.ClientConfig{Realm: realm, AS: everySh{}, Shards: shards})
	b.must(err)
	ln, port := b.listen()
	hss := b.node(theirs, 2, server.Application(), diameter.PeerConfig{Host: ours, Role: shwire.RoleAS()})
	as := b.node(ours, 3, client.Application(), diameter.PeerConfig{Host: theirs, Role: shwire.RoleHSS(), Dial: dialPort(port)})
	server.Bind(hss)
	client.Bind(as)
	b.run(t, ln, hss, as)
	<-b.up
	<-b.up
	return server, client, b.on, port
}

// Every command of Sh with every AVP that we send, read by tshark in a capture of what the wire had.
func TestTshark_reads_Sh(t *testing.T) {
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
		server, client, on, port := shPair(t, keylog)
		c.Decode = append(c.Decode, "-d", fmt.Sprintf("tls.port==%d,diameter", port))
		askSh(t, server, client, on)
	})
	if frames := strings.Fields(c.Tshark(t, "-Y", "diameter.cmd.code >= 306 && diameter.cmd.code <= 309", "-T", "fields", "-E", "occurrence=a", "-e", "diameter.cmd.code")); len(frames) < 12 {
		t.Errorf("tshark sees %v", frames)
	}
	if digits := c.Tshark(t, "-Y", "e164.msisdn", "-T", "fields", "-E", "occurrence=a", "-e", "e164.msisdn"); !strings.Contains(digits, "155500012") {
		t.Errorf("tshark reads the MSISDN as %q", digits)
	}
	_, against := c.Judge(t, "diameter", "tcp")
	for _, complaint := range against {
		t.Error(complaint)
	}
}

// askSh asks everything.
func askSh(t *testing.T, server *shwire.Server, client *shwire.Client, on *shard.Shard) {
	t.Helper()
	err := on.Call(context.Background(), func(task *shard.Task) {
		want := func(what string, err error, result sh.Result) {
			if sh.ResultOf(err) != result {
				t.Errorf("%s: %v, want %v", what, err, result)
			}
		}
		user, number := sh.UserIdentity{Public: "sip:a@ims.example"}, sh.UserIdentity{MSISDN: "155500012"}
		key := sh.Key{Reference: sh.RefRepositoryData, ServiceIndication: "greeting", ServerName: "sip:as.ims.example", DSAITag: "mail", IdentitySet: sh.AliasIdentities}
		_, err := client.UserData(task, &sh.UserDataRequest{User: user, IMPI: "a@ims.example", Key: key})
		want("UDR", err, sh.ResultSuccess)
		_, err = client.UserData(task, &sh.UserDataRequest{User: number, Key: sh.Key{Reference: sh.RefMSISDN}})
		want("UDR by number", err, sh.ResultSuccess)
		_, err = client.UserData(task, &sh.UserDataRequest{User: user, Key: sh.Key{Reference: sh.RefLocationInformation, Domain: sh.PSDomain, CurrentLocation: true}})
		want("UDR refused", err, sh.ResultUserDataCannotBeRead)
		_, err = client.ProfileUpdate(task, &sh.ProfileUpdateRequest{User: user, IMPI: "a@ims.example", Reference: sh.RefRepositoryData, Data: everyData()})
		want("PUR", err, sh.ResultSuccess)
		_, err = client.SubscribeNotifications(task, &sh.SubscribeNotificationsRequest{User: user, Key: key, SendData: true, OneTime: true, ExpiryTime: 1_900_000_000})
		want("SNR", err, sh.ResultSuccess)
		push := server.Push(sh.AS{Service: "service", Host: ours})
		want("PNR", push.PushNotification(task, &sh.PushNotificationRequest{User: user, Data: everyData(), WildcardedPSI: "sip:!.*!@ims.example",
			WildcardedIMPU: "sip:!.*!@ims.example"}), sh.ResultNoSubscriptionToData)
	})
	if err != nil {
		t.Fatal(err)
	}
}
