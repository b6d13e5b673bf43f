package chromium

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/test/peer"
)

//go:embed page.html
var page []byte

// patience is how long a step may take: a browser starts slowly on a busy machine.
const patience = 60 * time.Second

// sight is what the browser has measured last (W3C webrtc-stats).
type sight struct {
	Connection string `json:"connection"`
	ICE        string `json:"ice"`
	DTLS       string `json:"dtlsState"`
	TLSVersion string `json:"tlsVersion"` // FEFD is DTLS 1.2
	Cipher     string `json:"srtpCipher"`

	Received int64   `json:"packetsReceived"`
	Lost     int64   `json:"packetsLost"`
	Energy   float64 `json:"totalAudioEnergy"` // of what was played out
}

// browser is a headless Chromium with the page.
type browser struct {
	t      *testing.T
	offers chan string
	answer chan string
	wishes chan string // directions that the page is to offer next

	mu     sync.Mutex
	seen   sight
	failed string
}

// open starts a browser, which ends with the test.
func open(t *testing.T) *browser {
	t.Helper()
	program := peer.Need(t, "chromium")
	b := &browser{t: t, offers: make(chan string), answer: make(chan string), wishes: make(chan string, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	mux.HandleFunc("POST /offer", b.offered)
	mux.HandleFunc("POST /measured", b.measured)
	mux.HandleFunc("POST /failed", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.failed = string(text)
		b.mu.Unlock()
	})
	server := httptest.NewServer(mux) // at 127.0.0.1, which browsers trust as they do HTTPS
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", server.URL)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var output bytes.Buffer
	cmd.Stderr = &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the browser and its processes
		_ = cmd.Wait()                                      // which says that it was killed
		server.CloseClientConnections()
		server.Close()
		if t.Failed() {
			t.Logf("the page: %s %+v\nthe browser: %.2000s", b.failed, b.seen, output.String())
		}
	})
	return b
}

// offered brings an offer to the test, and its answer back.
func (b *browser) offered(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	select {
	case b.offers <- string(text):
	case <-r.Context().Done():
		return
	}
	select {
	case answer := <-b.answer:
		_, _ = io.WriteString(w, answer)
	case <-r.Context().Done():
	}
}

// measured keeps what the page has measured, and says what it is to do next.
func (b *browser) measured(w http.ResponseWriter, r *http.Request) {
	var seen sight
	if json.NewDecoder(r.Body).Decode(&seen) == nil {
		b.mu.Lock()
		b.seen = seen
		b.mu.Unlock()
	}
	select {
	case wish := <-b.wishes:
		_, _ = io.WriteString(w, wish)
	default:
	}
}

// offer waits for an offer of the page.
func (b *browser) offer() string {
	b.t.Helper()
	select {
	case offer := <-b.offers:
		return offer
	case <-time.After(patience):
		b.t.Fatal("the browser does not offer")
		return ""
	}
}

// sees is what the browser has measured last.
func (b *browser) sees() sight {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(20*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}
