package diameter

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"
)

// A DWR as an independent stack would send it, octet by octet (RFC 6733 3, 4.1, 5.5.1).
const wantDWR = "01000044" + "80000118" + "00000000" + "00000001" + "00000002" +
	"00000108" + "40000019" + hexAlpha + "000000" +
	"00000128" + "40000013" + "696d732e6578616d706c65" + "00"

const hexAlpha = "616c7068612e696d732e6578616d706c65"

func TestWriter_base_message(t *testing.T) {
	w := Begin([]byte("before"), Header{Flags: FlagRequest, Command: DWR, HopByHop: 1, EndToEnd: 2})
	w.Text(OriginHost, alpha)
	w.Text(OriginRealm, realm)
	b, err := w.End()
	if err != nil || hex.EncodeToString(b[6:]) != wantDWR {
		t.Errorf("%x, %v\nwant %s", b[6:], err, wantDWR)
	}
	m, err := Parse(b[6:])
	if err != nil || m.Check(grammarDWR) != nil || m.Header() != (Header{FlagRequest, DWR, AppCommon, 1, 2}) {
		t.Errorf("%v, %v", m, err)
	}
}

// One AVP with a vendor: 12 octets of header, V and M (RFC 6733 4.1, TS 29.229 6.3).
func TestWriter_vendor_AVP_in_a_group(t *testing.T) {
	var w Writer
	w.Open(ServerCapabilities)
	w.Unsigned32(MandatoryCapability, 7)
	w.Text(ServerName, "sip:a")
	w.Close()
	want := "0000025b" + "c0000030" + "000028af" + "0000025c" + "c0000010" + "000028af" + "00000007" +
		"0000025a" + "c0000011" + "000028af" + "7369703a61" + "000000"
	if got := hex.EncodeToString(w.Bytes()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestAVP_values_come_back(t *testing.T) {
	w := Begin(nil, Header{Command: UAR, Application: AppCx})
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	before, after := time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC), time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	w.Address(HostIPAddress, v4)
	w.Address(PCSCFIPAddress, v6)
	w.Time(EventTimestamp, before)
	w.Time(RegistrationTimeOut, after)
	w.Unsigned64(AccountingSubSessionID, 1<<63+1)
	w.Enumerated(DisconnectCause, -1)
	b, _ := w.End()
	m, _ := Parse(b)
	if f := m.Check(nil); f != nil {
		t.Fatal(f)
	}
	find := func(id ID) AVP { a, _ := m.Find(id); return a }
	if a, ok := find(HostIPAddress).Address(); !ok || a != v4 {
		t.Errorf("%v", a)
	}
	if a, ok := find(PCSCFIPAddress).Address(); !ok || a != v6 {
		t.Errorf("%v", a)
	}
	if a, ok := find(EventTimestamp).Time(); !ok || !a.Equal(before) {
		t.Errorf("%v", a)
	}
	if a, ok := find(RegistrationTimeOut).Time(); !ok || !a.Equal(after) {
		t.Errorf("after the NTP counter has started again: %v", a)
	}
	if n, ok := find(AccountingSubSessionID).Unsigned64(); !ok || n != 1<<63+1 {
		t.Errorf("%d", n)
	}
	if n, ok := find(DisconnectCause).Enumerated(); !ok || n != -1 {
		t.Errorf("%d", n)
	}
	if _, ok := find(HostIPAddress).Unsigned32(); ok {
		t.Error("an address was read as a number")
	}
}

// Every name leads to its code and back; nothing stands twice.
func TestDictionary(t *testing.T) {
	seen := map[[2]uint32]bool{}
	for i := range dictionary {
		id, d := ID(i), ID(i).Definition()
		if id == Unknown {
			continue
		}
		if d.Code == 0 || d.Code >= denseCodes || d.Name == "" || seen[[2]uint32{d.Code, d.Vendor}] {
			t.Errorf("%d: %+v", i, d)
		}
		seen[[2]uint32{d.Code, d.Vendor}] = true
		if Lookup(d.Code, d.Vendor) != id {
			t.Errorf("%s is not found by its code", d.Name)
		}
	}
	for _, x := range [][2]uint32{{601, 0}, {264, Vendor3GPP}, {1, 9}, {denseCodes, 0}, {0, 0}, {1 << 31, Vendor3GPP}} {
		if id := Lookup(x[0], x[1]); id != Unknown {
			t.Errorf("code %d of vendor %d is %v", x[0], x[1], id)
		}
	}
}

func TestCheck_depth_and_number(t *testing.T) {
	nested := func(depth int) *Fault {
		var inner []byte
		for range depth {
			var w Writer
			w.Open(SupportedApplications)
			w.Raw(inner)
			w.Close()
			inner = w.Bytes()
		}
		w := Begin(nil, Header{})
		w.Raw(inner)
		b, _ := w.End()
		m, _ := Parse(b)
		return m.Check(nil)
	}
	if f := nested(MaxDepth); f != nil {
		t.Errorf("%d deep: %v", MaxDepth, f)
	}
	if f := nested(MaxDepth + 1); f == nil || f.Result != ResultInvalidAVPValue {
		t.Errorf("%d deep: %v", MaxDepth+1, f)
	}
	if f := nested(3000); f == nil {
		t.Error("3000 deep is good")
	}
	many := Begin(nil, Header{})
	for range MaxAVPs + 1 {
		many.Unsigned32(FeatureList, 1)
	}
	b, _ := many.End()
	if m, _ := Parse(b); m.Check(nil) == nil {
		t.Errorf("%d AVPs are good", MaxAVPs+1)
	}
}

// The hot path allocates nothing.
func TestCodec_allocates_nothing(t *testing.T) {
	msg := maa(nil)
	var buf [2048]byte
	if n := testing.AllocsPerRun(100, func() {
		_ = maa(buf[:0])
		m, _ := Parse(msg)
		if f := m.Check(grammarMAA); f != nil {
			t.Fatal(f)
		}
		a, _ := m.Find(SIPAuthDataItem)
		if ck, ok := a.Group().Find(ConfidentialityKey); !ok || len(ck.Data) != 16 {
			t.Fatal("no key")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var grammarMAA = Grammar{{SessionID, 1, 1}, {VendorSpecificApplicationID, 1, 1}, {ResultCode, 0, 1}, {AuthSessionState, 1, 1},
	{OriginHost, 1, 1}, {OriginRealm, 1, 1}, {UserName, 0, 1}, {PublicIdentity, 0, 1}, {SIPNumberAuthItems, 0, 1}, {SIPAuthDataItem, 0, 0}}

// maa is a realistic MAA (TS 29.229 6.1.8).
func maa(dst []byte) []byte {
	var zero [32]byte
	w := Begin(dst, Header{Flags: FlagProxiable, Command: MAR, Application: AppCx})
	w.Text(SessionID, "scscf.ims.mnc001.mcc001.3gppnetwork.org;1716500000;123456")
	w.Open(VendorSpecificApplicationID)
	w.Unsigned32(VendorID, Vendor3GPP)
	w.Unsigned32(AuthApplicationID, uint32(AppCx))
	w.Close()
	w.Unsigned32(ResultCode, 2001)
	w.Enumerated(AuthSessionState, 1)
	w.Text(OriginHost, "hss.ims.mnc001.mcc001.3gppnetwork.org")
	w.Text(OriginRealm, "ims.mnc001.mcc001.3gppnetwork.org")
	w.Text(UserName, "001010000000001@ims.mnc001.mcc001.3gppnetwork.org")
	w.Text(PublicIdentity, "sip:alice@ims.mnc001.mcc001.3gppnetwork.org")
	w.Unsigned32(SIPNumberAuthItems, 1)
	w.Open(SIPAuthDataItem)
	w.Unsigned32(SIPItemNumber, 1)
	w.Text(SIPAuthenticationScheme, "Digest-AKAv1-MD5")
	w.Octets(SIPAuthenticate, zero[:])
	w.Octets(SIPAuthorization, zero[:8])
	w.Octets(ConfidentialityKey, zero[:16])
	w.Octets(IntegrityKey, zero[:16])
	w.Close()
	b, _ := w.End()
	return b
}

func TestAppendError_copies_nothing_malformed(t *testing.T) {
	w := Begin(nil, Header{Flags: FlagRequest | FlagProxiable, Command: UAR, Application: AppCx})
	w.Octets(SessionID, []byte{0xff})
	w.Open(ProxyInfo)
	w.Text(ProxyHost, "agent.example")
	w.Octets(ProxyState, []byte{1, 2, 3})
	w.Close()
	b, _ := w.End()
	req, _ := Parse(b)
	m, err := Parse(AppendError(nil, req, Identities{beta, realm}, Fault{Result: ResultTooBusy}))
	if err != nil || m.Check(nil) != nil || m.Flags() != FlagError|FlagProxiable {
		t.Errorf("%v, %v", m, err)
	}
	if _, ok := m.Find(SessionID); ok {
		t.Error("a Session-Id that is no text was copied")
	}
	a, _ := req.Find(ProxyInfo)
	if c, _ := m.Find(ProxyInfo); !bytes.Equal(a.raw, c.raw) {
		t.Error("Proxy-Info does not come back")
	}
}
