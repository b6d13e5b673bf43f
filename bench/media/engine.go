package media

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"imsafe/bench/load"
)

// Engine is rtpengine, as Debian has it, in userspace (no table of the kernel's), driven by its ng protocol: bencode over UDP.
type Engine struct {
	cmd    *exec.Cmd
	conn   net.Conn
	cookie int
	log    string
}

// engineConfig keeps what could disturb the figures away: no file of the system's, no kernel, no log, no learning of addresses. One thread,
// because it has one processor; with more it costs more.
const engineConfig = `[rtpengine]
table = -1
interface = %[1]s
listen-ng = %[1]s:2223
port-min = 10000
port-max = 60000
num-threads = 1
endpoint-learning = off
log-stderr = true
log-level = 3
foreground = true
`

// StartEngine starts program at an address of loopback. dir is for its configuration and its log.
func StartEngine(program, dir string, at netip.Addr) (*Engine, error) {
	file, log := filepath.Join(dir, "rtpengine.conf"), filepath.Join(dir, "rtpengine.log")
	if err := os.WriteFile(file, fmt.Appendf(nil, engineConfig, at), 0o600); err != nil {
		return nil, err
	}
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	e := &Engine{cmd: exec.Command(program, "--config-file="+file), log: log}
	e.cmd.Stdout, e.cmd.Stderr = out, out
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	if e.conn, err = net.Dial("udp", netip.AddrPortFrom(at, 2223).String()); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	for range 100 {
		if _, err = e.ask(200*time.Millisecond, "command", "ping"); err == nil {
			return e, nil
		}
		time.Sleep(20 * time.Millisecond) // that nobody listens yet the kernel says at once
	}
	text, _ := os.ReadFile(log)
	return nil, errors.Join(fmt.Errorf("rtpengine does not answer: %w\n%s", err, text[max(0, len(text)-2048):]), e.Close())
}

// Name implements Relay.
func (e *Engine) Name() string { return "rtpengine" }

// PIDs implements Relay.
func (e *Engine) PIDs() []int { return []int{e.cmd.Process.Pid} }

// Join implements Relay. The first end offers, the second one answers.
func (e *Engine) Join(ends [2]End) (seats [2]Seat, err error) {
	call := "call-" + ends[0].At.String()
	common := []any{"call-id", call, "from-tag", "a", "ICE", "remove", "DTLS", "off", "flags", []string{"strict source", "asymmetric"}}
	said, err := e.ask(5*time.Second, append([]any{"command", "offer", "sdp", ends[0].describe(1), "transport-protocol", ends[1].proto()}, common...)...)
	if err != nil {
		return seats, err
	}
	tag := 1
	if seats[1], tag, err = load.ParseSeat(said, ends[1].Key.Suite); err != nil {
		return seats, fmt.Errorf("the offer that rtpengine has made: %w", err)
	}
	if ends[0].Key.Suite != "" && bytes.Equal(seats[1].Key.Master, ends[0].Key.Master) {
		return seats, errors.New("rtpengine hands on the key of the other end: it would open nothing")
	}
	if said, err = e.ask(5*time.Second, append([]any{"command", "answer", "to-tag", "b", "sdp", ends[1].describe(tag)}, common...)...); err != nil {
		return seats, err
	}
	if seats[0], _, err = load.ParseSeat(said, ends[0].Key.Suite); err != nil {
		return seats, fmt.Errorf("the answer that rtpengine has made: %w", err)
	}
	return seats, nil
}

// Close implements Relay.
func (e *Engine) Close() error {
	if e.conn != nil {
		_ = e.conn.Close()
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	_ = e.cmd.Wait() // it ends by the signal
	return nil
}

// proto is the protocol of an m= line.
func (e End) proto() string {
	if e.Key.Suite == "" {
		return "RTP/AVP"
	}
	return "RTP/SAVP"
}

// describe is the description of an end.
func (e End) describe(tag int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %d %s 8\r\na=rtpmap:8 PCMA/8000\r\na=rtcp-mux\r\n", e.At.Addr(), e.At.Port(), e.proto())
	if e.Key.Suite != "" {
		fmt.Fprintf(&b, "a=crypto:%d %s inline:%s\r\n", tag, e.Key.Suite, base64.StdEncoding.EncodeToString(e.Key.Master))
	}
	return b.String()
}

// ask sends a command and returns the description of the answer, if there is one.
func (e *Engine) ask(wait time.Duration, dictionary ...any) (string, error) {
	e.cookie++
	cookie := strconv.Itoa(e.cookie)
	if _, err := e.conn.Write(append([]byte(cookie+" "), bencode(dictionary)...)); err != nil {
		return "", err
	}
	if err := e.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return "", err
	}
	b := make([]byte, 1<<16)
	for {
		n, err := e.conn.Read(b)
		if err != nil {
			return "", err
		}
		text, mine := bytes.CutPrefix(b[:n], []byte(cookie+" "))
		if !mine {
			continue // the answer to a command of before
		}
		d, err := bdecode(text)
		if err != nil {
			return "", err
		}
		if d["result"] != "ok" && d["result"] != "pong" {
			return "", fmt.Errorf("rtpengine: %s: %s", d["result"], d["error-reason"])
		}
		return d["sdp"], nil
	}
}
