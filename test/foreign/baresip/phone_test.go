package baresip

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/client/media"
	"imsafe/test/live"
	"imsafe/test/peer"
	"imsafe/test/port"
)

// phone is a baresip with files of its own. It belongs to the test's goroutine.
type phone struct {
	*live.User
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	out    bytes.Buffer // what baresip said; to be read after its end
	ctrl   net.Conn
	events chan event
	seen   []event
}

// event is what baresip tells of on its control connection.
type event struct {
	Event    bool   `json:"event"`
	Type     string `json:"type"`
	Param    string `json:"param"`
	Response bool   `json:"response"`
	OK       bool   `json:"ok"`
	Data     string `json:"data"`
}

// configuration is what a person writes. ausine of this version knows 48 kHz alone, so the tone comes from a file; aufile cannot play, so
// what is heard is what the filter sndfile writes down.
const configuration = `poll_method		epoll
sip_cafile		%[1]s/ca.pem
sip_verify_server	yes
call_local_timeout	30
call_max_calls		4
audio_source		aufile,%[1]s/says.wav
audio_player		aubridge,ear
snd_path		%[1]s
audio_alert		aufile,/dev/null
ausrc_srate		8000
auplay_srate		8000
rtp_ports		%[4]d-%[5]d
net_interface		127.0.0.1
dns_server		%[6]s
module_path		%[2]s
module			g711.so
module			aufile.so
module			aubridge.so
module			sndfile.so
module			srtp.so
module			dtls_srtp.so
module			ice.so
module_tmp		uuid.so
module_tmp		account.so
module_app		menu.so
module_app		ctrl_tcp.so
ctrl_tcp_listen		127.0.0.1:%[3]d
`

// start runs a baresip for u whose voice is a tone of hz. keying is baresip's word for how media are protected.
func start(t *testing.T, n *live.Node, u *live.User, hz float64, keying string) *phone {
	t.Helper()
	program := peer.Need(t, "baresip")
	p := &phone{User: u, t: t, dir: t.TempDir(), events: make(chan event, 64)}
	control, rtp := port.Free(t, "127.0.0.1").Port(), port.Run(t, "127.0.0.1", 50).Port()
	account := fmt.Sprintf("<sip:%s@%s;transport=tls>;auth_user=%s;auth_pass=%s;outbound=\"sip:%v;transport=tls\";mediaenc=%s;answermode=auto;regint=600;audio_codecs=PCMA/8000/1\n",
		u.Name, live.Domain, u.IMPI, u.Password, n.TLS, keying)
	for name, text := range map[string]string{
		"config":   fmt.Sprintf(configuration, p.dir, modules(program), control, rtp, rtp+49, names(t, n)),
		"accounts": account, "ca.pem": string(n.CAPEM), "contacts": "",
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeTone(filepath.Join(p.dir, "says.wav"), hz); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cmd = exec.CommandContext(ctx, program, "-4", "-v", "-f", p.dir)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = &p.out, &p.out, 3*time.Second
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if p.ctrl != nil {
			_ = p.ctrl.Close()
		}
		cancel()
		_ = p.cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s: %v\n%s", u.Name, p.seen, tail(p.out.String()))
		}
	})
	t.Cleanup(stop)
	p.connect(control)
	return p
}

// modules is where Debian puts them, beside the program's own tree.
func modules(program string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(program)), "lib", "baresip", "modules")
}

func tail(s string) string {
	var keep []string
	for _, l := range strings.Split(s, "\n") {
		if !strings.Contains(l, "bit/s") || len(l) < 100 {
			keep = append(keep, l)
		}
	}
	s = strings.Join(keep, "\n")
	return s[max(0, len(s)-6000):]
}

// writeTone makes two minutes of a sine: at its end baresip hangs up.
func writeTone(path string, hz float64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	w, err := media.NewWAVWriter(f)
	if err != nil {
		return err
	}
	pcm := make([]int16, 120*media.SampleRate)
	if _, err := media.NewTone(hz, -10).Read(pcm); err != nil {
		return err
	}
	if err := w.Write(pcm); err != nil {
		return err
	}
	return w.Close()
}

// connect takes the control connection, which baresip opens a moment after it has started.
func (p *phone) connect(port uint16) {
	p.t.Helper()
	var err error
	opened := within(func() bool {
		p.ctrl, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		return err == nil
	})
	if !opened {
		p.t.Fatalf("baresip did not open its control connection: %v", err)
	}
	go p.listen()
}

// listen reads netstrings until the connection ends.
func (p *phone) listen() {
	defer close(p.events)
	r := bufio.NewReader(p.ctrl)
	for {
		digits, err := r.ReadString(':')
		if err != nil {
			return
		}
		size, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(digits, ","), ":"))
		if err != nil || size > 1<<20 {
			return
		}
		text := make([]byte, size)
		if _, err := io.ReadFull(r, text); err != nil {
			return
		}
		var e event
		if json.Unmarshal(text, &e) == nil {
			p.events <- e
		}
	}
}

// command gives baresip an order.
func (p *phone) command(name, params string) {
	p.t.Helper()
	text, err := json.Marshal(map[string]string{"command": name, "params": params})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.ctrl, "%d:%s,", len(text), text); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits until baresip tells of something.
func (p *phone) wait(what string) {
	p.t.Helper()
	limit := time.After(live.Patience)
	for {
		select {
		case e, more := <-p.events:
			if !more {
				p.t.Fatalf("%s: baresip ended before %s; it told of %v", p.Name, what, p.seen)
			}
			p.seen = append(p.seen, e)
			if e.Type == what {
				return
			}
			if e.Type == "REGISTER_FAIL" || e.Type == "CALL_CLOSED" {
				p.t.Fatalf("%s: %s (%s) instead of %s", p.Name, e.Type, e.Param, what)
			}
		case <-limit:
			p.t.Fatalf("%s: no %s in time; baresip told of %v", p.Name, what, p.seen)
		}
	}
}

// heard measures the last half second that baresip has played for its user.
func (p *phone) heard() (media.Heard, error) {
	files, err := filepath.Glob(filepath.Join(p.dir, "*dec.wav"))
	if err != nil || len(files) == 0 {
		return media.Heard{}, fmt.Errorf("no recording: %w", err)
	}
	b, err := os.ReadFile(slices.Max(files)) // their names are their times
	if err != nil {
		return media.Heard{}, err
	}
	const header, window = 44, media.SampleRate / 2
	if len(b) < header+4*window {
		return media.Heard{}, fmt.Errorf("only %d octets", len(b))
	}
	b = b[header:]
	b = b[len(b)-2*window-len(b)%2 : len(b)-len(b)%2]
	pcm := make([]int16, window)
	for i := range pcm {
		pcm[i] = int16(b[2*i]) | int16(b[2*i+1])<<8
	}
	return media.Measure(pcm), nil
}

// wantTone waits until baresip plays a clean tone of hz.
func (p *phone) wantTone(hz float64) {
	p.t.Helper()
	var h media.Heard
	var err error
	if within(func() bool { h, err = p.heard(); return err == nil && h.Tone(hz) }) {
		return
	}
	p.t.Errorf("%s heard %+v, %v; want %.0f Hz", p.Name, h, err, hz)
}
