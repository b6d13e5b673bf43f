package kamailio

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/proof/target"
	"imsafe/proto/shard"
	"imsafe/secure"
	"imsafe/test/capture"
	"imsafe/test/live"
)

// TestTarget aims attacks at Kamailio's IMS by the profile that ships for it. What a run says must be what a capture of all hops shows, be it that the attack
// got through or that it did not: which of them it is stands nowhere, since it may be another with the next release.
func TestTarget(t *testing.T) {
	need(t)
	c := capture.New(t, "-d", "udp.port==5060,sip")
	x := aimed(t)
	var rows []runner.Foreign
	c.During(t, func() { rows = aim(t, x, confirmed()) })
	agree(t, rows, confirmed(), heard(t, c, "pcscf"), 3)
}

// agree compares each verdict with a capture. At least so many runs come to one.
func agree(t *testing.T, rows []runner.Foreign, by []confirmation, frames []frame, least int) {
	t.Helper()
	judged := 0
	for _, row := range rows {
		t.Logf("%s %s: %s", row.Outcome, row.Name(), row.Saw)
		claimsNoMore(t, row.Record)
		if row.Outcome != evidence.Succeeded && row.Outcome != evidence.Blocked {
			continue
		}
		judged++
		through := shows(t, row, by, frames)
		if through != (row.Outcome == evidence.Succeeded) {
			t.Errorf("%s %s, and in the capture what it is about has come through: %v", row.Name(), row.Outcome, through)
		}
	}
	if judged < least {
		t.Errorf("of %d runs %d came to a verdict", len(rows), judged)
	}
}

// confirmation is a row with what a capture shows if it gets through: a message that the target has sent to a client, or a number of them.
type confirmation struct {
	row   string // or one variant of it, before it
	shown func(f *frame) bool
	times int // more than that
}

// confirmed are the rows that are compared with a capture at an IMS and at a plain SIP server.
func confirmed() []confirmation {
	return []confirmation{
		{"ci.identity.asserted", func(f *frame) bool {
			return f.carries("MESSAGE ", "asserted ") && strings.Contains(f.header("P-Asserted-Identity"), "sip:alice@")
		}, 0},
		{"ci.identity.from", func(f *frame) bool {
			from := f.header("From")
			alice, inside := strings.Contains(from, "sip:alice@"), strings.Contains(f.header("To"), ";tag=")
			return f.carries("MESSAGE ", "forged ") && (alice || strings.Contains(from, "555")) || strings.HasPrefix(f.text, "INVITE ") && inside && alice
		}, 0},
		{"ci.user.enumerate", func(f *frame) bool {
			known := regexp.MustCompile(`sip:(alice|bob|carol|mallory)@`).MatchString(f.header("From"))
			return !known && strings.Contains(f.header("CSeq"), "REGISTER") && !strings.HasPrefix(f.text, "SIP/2.0 401 ") && !strings.HasPrefix(f.text, "SIP/2.0 1")
		}, 0},
		{"ci.dialog.kill", func(f *frame) bool {
			number, method, _ := strings.Cut(f.header("CSeq"), " ")
			n, err := strconv.Atoi(number)
			forged := (method == "BYE" || method == "PRACK") && err == nil && n >= 100
			return forged && strings.HasPrefix(f.text, method+" ") || strings.HasPrefix(f.text, "CANCEL ") // nobody else gives up a call
		}, 0},
		{"ci.message.spoof/after", func(f *frame) bool {
			return strings.HasPrefix(f.text, "MESSAGE ") && strings.Contains(f.header("To"), ";tag=")
		}, 0},
		{"ci.message.spoof", func(f *frame) bool { return f.carries("MESSAGE ", "bulk ") }, 150},
	}
}

// shows reports whether the capture has, while a row ran, what it has if the row got through.
func shows(t *testing.T, row runner.Foreign, by []confirmation, frames []frame) bool {
	t.Helper()
	from, err1 := time.Parse(time.RFC3339Nano, row.Record.Start)
	to, err2 := time.Parse(time.RFC3339Nano, row.Record.End)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, x := range by {
		if x.row != row.Attack && x.row != row.Attack+"/"+row.Variant {
			continue
		}
		seen := map[string]bool{} // a message that is sent again is the same
		for i := range frames {
			if f := &frames[i]; !f.at.Before(from) && !f.at.After(to) && x.shown(f) {
				seen[f.header("Call-ID")+f.header("CSeq")] = true
			}
		}
		return len(seen) > x.times
	}
	t.Fatalf("nobody says what a capture of %s shows", row.Attack)
	return false
}

// claimsNoMore: a record of a foreign target names no control, knows no events, and is of its kind.
func claimsNoMore(t *testing.T, r *evidence.Record) {
	t.Helper()
	if r.Kind != evidence.Foreign || r.Allowed == "" || r.Expected != "" || len(r.ControlsOff) > 0 || len(r.Events) > 0 || r.Accident || r.Signed {
		t.Errorf("%s claims more than could be seen: %+v", r.Name(), r)
	}
	for _, o := range r.Oracles {
		if !o.Outside {
			t.Errorf("%s: nobody is inside the target: %+v", r.Name(), o)
		}
	}
	text, err := evidence.Canonical(r.Oracles)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range secure.Controls() {
		if strings.Contains(r.Reason+string(text), id.String()) {
			t.Errorf("%s says what control it was: %s", r.Name(), r.Reason)
		}
	}
}

// aim runs the rows, one after the other.
func aim(t *testing.T, x *target.Target, by []confirmation) (rows []runner.Foreign) {
	t.Helper()
	r := runner.New(runner.Config{Network: sockets{}, Clock: shard.RealClock(), Random: rand.Reader})
	for i := range by {
		if strings.Contains(by[i].row, "/") {
			continue // with its row
		}
		a, known := attack.Find(by[i].row)
		if !known {
			t.Fatalf("there is no row %s", by[i].row)
		}
		found, err := r.Aim(t.Context(), &a, x)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, found...)
	}
	return rows
}

// aimed starts Kamailio's IMS over our HSS, and reads the profile.
func aimed(t *testing.T) *target.Target {
	t.Helper()
	home := startHSS(t)
	resolve(t, everywhere)
	for _, function := range []string{"pcscf", "icscf", "scscf"} {
		run(t, function)
	}
	meets(t, home)
	keys := map[string]string{}
	var users []*live.User
	for _, name := range attack.Telephones() {
		u := live.NewUsers(name, 1, live.AKAv1)[0]
		u.Name, u.IMPI, u.IMPU = name, name+"@"+live.Domain, "sip:"+name+"@"+live.Domain
		keys["env:IMS_"+strings.ToUpper(name)] = fmt.Sprintf("%x %x", u.K[:], u.OPc[:])
		users = append(users, u)
	}
	if err := home.Provision(t.Context(), users...); err != nil {
		t.Fatal(err)
	}
	text, _ := target.Profile("kamailio")
	today := time.Now()
	means := target.Means{Today: today, Keys: func(reference string) ([]byte, error) { return []byte(keys[reference]), nil }}
	if _, err := target.Read([]byte(text), means); err == nil || !strings.Contains(err.Error(), "owner.statement") {
		t.Fatalf("a profile as it ships needs nobody's leave: %v", err)
	}
	x, err := target.Read([]byte(allowed(text, today)), means)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// allowed is the text of a profile with an owner's leave for today.
func allowed(profile string, today time.Time) string {
	return strings.NewReplacer(`name      = ""`, `name = "the test"`, `statement = ""`, `statement = "It runs in a network of the test's own."`,
		"0001-01-01", today.Format(time.DateOnly)).Replace(profile)
}

// frame is a datagram with SIP that the target has sent to a client.
type frame struct {
	at   time.Time
	text string
}

func (f *frame) carries(start, body string) bool {
	_, own, _ := strings.Cut(f.text, "\r\n\r\n")
	return strings.HasPrefix(f.text, start) && strings.HasPrefix(own, body)
}

// header is the first value of a header field.
func (f *frame) header(name string) string {
	_, rest, _ := strings.Cut(f.text, "\r\n"+name+": ")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

// heard are the frames of a capture, read without the parser that the attacks use.
func heard(t *testing.T, c capture.Capture, from string) (frames []frame) {
	t.Helper()
	lines := c.Tshark(t, "-Y", "sip && ip.src == "+addresses[from]+" && ip.dst == 127.0.0.1", "-T", "fields", "-e", "frame.time_epoch", "-e", "udp.payload")
	for line := range strings.Lines(lines) {
		at, payload, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		seconds, nanoseconds, _ := strings.Cut(at, ".")
		s, err1 := strconv.ParseInt(seconds, 10, 64)
		ns, err2 := strconv.ParseInt(nanoseconds, 10, 64)
		text, err3 := hex.DecodeString(payload)
		if err1 != nil || err2 != nil || err3 != nil {
			continue // an error of ICMP has two datagrams in it
		}
		frames = append(frames, frame{time.Unix(s, ns), string(text)})
	}
	if len(frames) == 0 {
		t.Fatal("the capture has nothing")
	}
	return frames
}

// sockets are those of this namespace.
type sockets struct{}

// Dial implements attack.Network.
func (sockets) Dial(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if from.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return d.DialContext(ctx, network, to.String())
}

// ListenPacket implements attack.Network.
func (sockets) ListenPacket(local netip.Addr) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
}
