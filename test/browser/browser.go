// Package browser drives Chromium for tests of pages: it opens addresses, clicks, waits for what a person would wait for, and takes pictures.
//
// It speaks the Chrome DevTools Protocol over a pair of pipes (--remote-debugging-pipe: JSON, each message ended by a zero octet), so it needs no port and
// no module. Waiting is done in the page, on conditions, not on times; a condition that never comes ends the test after a minute.
//
// For tests only. A Tab belongs to the goroutine of its test.
package browser

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"imsafe/test/peer"
)

// patience is how long a condition may take to come, on a machine that has other things to do as well.
const patience = time.Minute

// Tab is a page of a browser.
type Tab struct {
	t        testing.TB
	in, pipe *os.File
	out      *bufio.Reader // of the pipe
	last     int
	session  string
	errors   []string // what the page has complained of
}

// Start starts a browser that ends with the test. Without Chromium the test is skipped, or fails with CI=true.
func Start(t testing.TB) *Tab {
	t.Helper()
	program := peer.Need(t, "chromium")
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "imsafe-browser-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-dev-shm-usage", "--user-data-dir="+dir, "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	b := &Tab{t: t, in: in, pipe: out, out: bufio.NewReader(out)}
	t.Cleanup(func() { b.end(cmd, dir) })
	var made struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		b.call(domain, nil, nil)
	}
	return b
}

// end lets the browser go, and takes away what it has written. A browser is many processes: asked, it waits for all of them.
func (b *Tab) end(cmd *exec.Cmd, dir string) {
	b.session = ""
	patient := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer patient.Stop()
	if b.try("Browser.close", nil, nil) != nil {
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()        // however it ends
	_ = os.RemoveAll(dir) // nothing depends on it
	_ = b.in.Close()
}

// message is one of the protocol, either way.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// call calls a method and waits for its result.
func (b *Tab) call(method string, params, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatalf("browser: %s: %v", method, err)
	}
}

func (b *Tab) try(method string, params, result any) error {
	b.last++
	text, err := json.Marshal(message{ID: b.last, Session: b.session, Method: method, Params: params})
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return err
	}
	if err := b.pipe.SetReadDeadline(time.Now().Add(3 * patience)); err != nil {
		return err
	}
	for {
		line, err := b.out.ReadBytes(0)
		if err != nil {
			return err
		}
		line = bytes.TrimSuffix(line, []byte{0})
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return err
		}
		switch {
		case m.ID != b.last:
			b.note(m.Method, line)
		case m.Error != nil:
			return errors.New(m.Error.Message)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		default:
			return nil
		}
	}
}

// note keeps what the page complains of: exceptions, and what its content policy has blocked.
func (b *Tab) note(method string, line []byte) {
	switch method {
	case "Runtime.exceptionThrown":
		b.errors = append(b.errors, string(line))
	case "Log.entryAdded":
		var e struct {
			Params struct {
				Entry struct{ Level, Source, Text string }
			}
		}
		if json.Unmarshal(line, &e) == nil && e.Params.Entry.Level == "error" && e.Params.Entry.Source != "network" {
			b.errors = append(b.errors, e.Params.Entry.Text)
		}
	}
}

// Complaints are the errors that pages have had since the last time.
func (b *Tab) Complaints() []string {
	all := b.errors
	b.errors = nil
	return all
}

// Size makes the window so large, in CSS pixels, with light or dark colours.
func (b *Tab) Size(width, height int, dark bool) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": "", "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Print shows the page as it would be printed, until the next Size.
func (b *Tab) Print() {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": "print"}, nil)
}

// Press presses keys of the keyboard, by their names: "Tab", "Enter", "Escape".
func (b *Tab) Press(keys ...string) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27}
	for _, key := range keys {
		down := map[string]any{"type": "rawKeyDown", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
		if key == "Enter" {
			down["type"], down["text"] = "keyDown", "\r"
		}
		b.call("Input.dispatchKeyEvent", down, nil)
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}, nil)
	}
}

// Go opens an address.
func (b *Tab) Go(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.Until("document.readyState === 'complete'")
}

// Eval returns what an expression of JavaScript is worth, waited for if it is a promise, decoded into v unless that is nil.
func (b *Tab) Eval(expression string, v any) {
	b.t.Helper()
	if err := b.eval(expression, v); err != nil {
		b.t.Fatalf("browser: %s: %v", expression, err)
	}
}

func (b *Tab) eval(expression string, v any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	if err := b.try("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &r); err != nil {
		return err
	}
	if r.ExceptionDetails != nil {
		return errors.New(r.ExceptionDetails.Exception.Description)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(r.Result.Value, v)
}

// Until waits until a condition of JavaScript holds. What is looked at may be loaded anew meanwhile.
func (b *Tab) Until(condition string) {
	b.t.Helper()
	ends := time.Now().Add(patience)
	for time.Now().Before(ends) {
		var holds bool
		err := b.eval(fmt.Sprintf(`new Promise(done => { let left = 40; const look = () => { let ok = false; try { ok = !!(%s); } catch (e) {}
			if (ok || left-- === 0) done(ok); else setTimeout(look, 50); }; look(); })`, condition), &holds)
		if err == nil && holds {
			return
		}
	}
	var body string
	_ = b.eval("document.body.innerText", &body)
	b.t.Fatalf("browser: this did not become true: %s\n%s\nthe page says:\n%.3000s", condition, b.errors, body)
}

// Click clicks where the first element that a selector finds is, as a hand would.
func (b *Tab) Click(selector string) {
	b.t.Helper()
	quoted := strconv.Quote(selector)
	for range clicks {
		b.Until("document.querySelector(" + quoted + ")")
		var at struct{ X, Y float64 }
		b.Eval(`(() => { const e = document.querySelector(`+quoted+`); e.scrollIntoView({block: "center", behavior: "instant"}); const r = e.getBoundingClientRect();
			window.pressed = false; e.addEventListener("click", () => { window.pressed = true; }, {once: true, capture: true});
			return {x: r.left + r.width / 2, y: r.top + r.height / 2}; })()`, &at)
		for _, kind := range []string{"mousePressed", "mouseReleased"} {
			b.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
		}
		var pressed bool
		if b.Eval("window.pressed", &pressed); pressed {
			return
		}
	}
	b.t.Fatalf("browser: %s cannot be pressed", selector)
}

// clicks is how often somebody tries to press what has moved away under the pointer.
const clicks = 5

// Shot takes a picture of the whole page into a PNG file, if IMSAFE_SHOTS names a directory: for whoever wants to look himself.
func (b *Tab) Shot(name string) {
	b.t.Helper()
	dir := os.Getenv("IMSAFE_SHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600)
	}
	if err != nil {
		b.t.Errorf("browser: %v", err)
	}
}
