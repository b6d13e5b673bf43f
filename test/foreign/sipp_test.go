package foreign

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/test/live"
	"imsafe/test/peer"
	"imsafe/test/port"
)

// run is one run of SIPp.
type run struct {
	scenario  string // file in sipp/ without its ending
	transport string // "u1": one UDP socket, "t1": one TCP connection
	port      string // ours; "" takes a free one
	users     string // injection file
	calls     int    // how many, each a play of the scenario
	rate      int    // per second
	expires   int    // for register
	hold      time.Duration
	ooc       string          // scenario for what comes out of calls
	t1        time.Duration   // timer T1; 0: 500 ms, as the scenarios have it
	until     <-chan struct{} // closed when SIPp is to be ended, where that is how it ends; nil where it ends by itself
}

// result is what SIPp counted.
type result struct {
	Created, Successful, Failed, Retransmissions int
}

// failures is the share of plays that did not come to their end.
func (r result) failures() float64 { return float64(r.Failed) / float64(max(r.Created, 1)) }

func (r result) String() string {
	return fmt.Sprintf("%d of %d, %d failed, %d sent again", r.Successful, r.Created, r.Failed, r.Retransmissions)
}

// playLimit ends a run of SIPp that does not end by itself.
const playLimit = 4 * time.Minute

// atOnce is how many plays are under way at most: a fifth of those that begin in a second. A node alone on its machine needs no more for them; where others
// have its processors, SIPp offers what it can take.
func (r *run) atOnce() int {
	if r.until != nil {
		return r.calls // which stay
	}
	return max(r.rate/5, 4)
}

// play runs SIPp against the lab port at node and returns what it counted; an error if it did not run to its end.
func play(t *testing.T, node netip.AddrPort, r run) (result, error) {
	t.Helper()
	sipp := peer.Need(t, "sipp")
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), playLimit)
	defer cancel()
	go func() {
		select {
		case <-r.until:
			cancel()
		case <-ctx.Done():
		}
	}()
	if r.port == "" {
		r.port = freePort(t)
	}
	args := []string{node.String(), "-sf", r.timed(t, dir), "-inf", r.users, "-t", r.transport, "-i", "127.0.0.1", "-p", r.port,
		"-m", strconv.Itoa(r.calls), "-r", strconv.Itoa(r.rate), "-d", strconv.Itoa(int(r.hold.Milliseconds())),
		"-l", strconv.Itoa(r.atOnce()), "-key", "expires", strconv.Itoa(r.expires), "-timeout", strconv.Itoa(int(playLimit.Seconds()) - 5), "-timeout_error",
		"-recv_timeout", strconv.Itoa(int(live.Patience.Milliseconds())), "-nostdin",
		"-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_err", "-error_file", "errors.log"}
	if r.ooc != "" {
		args = append(args, "-oocsf", scenario(t, r.ooc))
	}
	cmd := exec.CommandContext(ctx, sipp, args...)
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	out, failed := cmd.CombinedOutput()
	select {
	case <-r.until:
		return result{}, nil
	default:
	}
	counted, err := readStatistics(filepath.Join(dir, "stat.csv"))
	if err == nil {
		err = failed
	}
	// Status 1 says that plays failed; how many may, is for the caller to judge.
	if status := cmd.ProcessState.ExitCode(); err != nil && status != 1 {
		return counted, fmt.Errorf("sipp %s: %w\n%s\n%s", r.scenario, err, head(out), complaints(dir))
	}
	if counted.Failed > 0 {
		t.Logf("sipp %s: %s", r.scenario, complaints(dir))
	}
	return counted, nil
}

// freePort finds a port for SIPp. Left alone, two of it at the same moment try the same one.
func freePort(t *testing.T) string { return strconv.Itoa(int(port.Free(t, "127.0.0.1").Port())) }

// timed is the scenario with T1: in dir, where it is not as it stands.
func (r *run) timed(t *testing.T, dir string) string {
	path := scenario(t, r.scenario)
	if r.t1 == 0 {
		return path
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, filepath.Base(path))
	text = bytes.ReplaceAll(text, []byte(`retrans="500"`), fmt.Appendf(nil, "retrans=%q", strconv.FormatInt(r.t1.Milliseconds(), 10)))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func scenario(t *testing.T, name string) string {
	path, err := filepath.Abs(filepath.Join("sipp", name+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// complaints is the beginning of what SIPp found wrong.
func complaints(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "errors.log"))
	if err != nil {
		return ""
	}
	return head(b)
}

func head(b []byte) string {
	const most = 3000
	return string(b[:min(len(b), most)])
}

// readStatistics reads the last line of SIPp's statistics.
func readStatistics(file string) (r result, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	c := csv.NewReader(bytes.NewReader(b))
	c.Comma, c.FieldsPerRecord, c.LazyQuotes = ';', -1, true
	rows, err := c.ReadAll()
	if err != nil || len(rows) < 2 {
		return r, fmt.Errorf("statistics of %d lines: %w", len(rows), err)
	}
	last := rows[len(rows)-1]
	for i, name := range rows[0] {
		if i >= len(last) {
			break
		}
		n, _ := strconv.Atoi(last[i])
		switch name {
		case "TotalCallCreated":
			r.Created = n
		case "SuccessfulCall(C)":
			r.Successful = n
		case "FailedCall(C)":
			r.Failed = n
		case "Retransmissions(C)":
			r.Retransmissions = n
		}
	}
	return r, nil
}

// sippUsers makes subscribers whose keys SIPp can hold. It keeps a key as a C string, reads that as a piece of a scenario once
// more, and forgets to end it: an octet 0 inside would cut it, a bracket would begin a keyword, and inject adds the end.
func sippUsers(prefix string, count int) []*live.User {
	users := live.NewUsers(prefix, count, live.AKAv1)
	for _, u := range users {
		for _, key := range []*[16]byte{(*[16]byte)(&u.K), (*[16]byte)(&u.OP)} {
			for i := range key {
				key[i] |= 0x80
			}
		}
		u.AMF = [2]byte{0x41, 0x41} // the separation bit stays 0 (TS 33.203 6.1)
		u.Derive()
	}
	return users
}

// inject writes the injection file of users; callee names the one whom each calls, round about.
func inject(t *testing.T, users, callees []*live.User) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("SEQUENTIAL\n")
	for i, u := range users {
		fmt.Fprintf(&b, "%s;%s;[authentication username=%s aka_K=0x%x00 aka_OP=0x%x00 aka_AMF=0x%x00];", u.Name, live.Domain, u.IMPI, u.K[:], u.OP[:], u.AMF[:])
		if len(callees) > 0 {
			b.WriteString(callees[i%len(callees)].Name)
		}
		b.WriteString("\n")
	}
	file := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
