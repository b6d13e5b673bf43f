package chromium

import (
	"bytes"
	"embed"
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

//go:embed page.html video.html
var pages embed.FS

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

	Transports int   `json:"transports"`
	Frames     int64 `json:"framesDecoded"` // of video
}

// browser is a headless Chromium with the page.
type browser struct {
	t      *testing.T
	offers chan string
	answer chan string
	wishes chan string // directions that the page is to offer next
	called chan string // offers that the other party of the page of two is to answer
	says   chan string // its answers

	mu     sync.Mutex
	seen   sight
	both   []sight // of the page of two: the caller, and who is called
	failed string
}

// open starts a browser at a page of ours, which ends with the test.
func open(t *testing.T, page string) *browser {
	t.Helper()
	program := peer.Need(t, "chromium")
	b := &browser{t: t, offers: make(chan string), answer: make(chan string), wishes: make(chan string, 1), called: make(chan string), says: make(chan string)}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(pages))
	mux.HandleFunc("POST /offer", b.offered)
	mux.HandleFunc("POST /measured", b.measured)
	mux.HandleFunc("POST /called", b.isCalled)
	mux.HandleFunc("POST /answer", b.answers)
	mux.HandleFunc("POST /saw", b.saw)
	mux.HandleFunc("POST /failed", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.failed = string(text)
		b.mu.Unlock()
	})
	server := httptest.NewServer(mux) // at 127.0.0.1, which browsers trust as they do HTTPS
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", server.URL+"/"+page)
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
			t.Logf("the page: %s %+v %+v\nthe browser: %.2000s", b.failed, b.seen, b.both, output.String())
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

// isCalled brings an offer to who is called in the page of two.
func (b *browser) isCalled(w http.ResponseWriter, r *http.Request) {
	select {
	case offer := <-b.called:
		_, _ = io.WriteString(w, offer)
	case <-r.Context().Done():
	}
}

// answers brings the answer of who is called to the test.
func (b *browser) answers(_ http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	select {
	case b.says <- string(text):
	case <-r.Context().Done():
	}
}

// saw keeps what the two parties of the page of two have measured.
func (b *browser) saw(_ http.ResponseWriter, r *http.Request) {
	var both []sight
	if json.NewDecoder(r.Body).Decode(&both) == nil && len(both) == 2 {
		b.mu.Lock()
		b.both = both
		b.mu.Unlock()
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
