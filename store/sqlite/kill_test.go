package sqlite_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"imsafe/store"
	"imsafe/store/sqlite"
	"imsafe/store/storetest"
)

// The child writes under load and says on its standard output what was acknowledged, line by line: "w <user> <n>" for a write,
// "d <user> <n>" for a removal, "r <to>" for a reservation. The parent kills it at a random moment and compares.
const (
	childDir   = "IMSAFE_STORE_KILL_DIR"
	killUsers  = 200
	killWriter = 16
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func killOptions() store.Options {
	o := options()
	o.SegmentBytes = 1 << 20 // segments and checkpoints end often, so kills hit them too
	o.CheckpointOps = 300
	o.CheckpointEvery = 100 * time.Millisecond
	o.JournalBytes = 1 << 30
	return o
}

// user is a registration: one record and its twin in another table, always written together.
func userOps(user int, n uint64, removed bool) []store.Op {
	key := fmt.Appendf(nil, "sip:user%03d@ims.example", user)
	var value []byte
	if !removed {
		value = fmt.Appendf(make([]byte, 0, 600), "%d %0*d", n, 500, n)
	}
	return []store.Op{{Table: storetest.Loud, Key: key, Value: value}, {Table: storetest.Quiet, Key: key, Value: fmt.Append(nil, n)}}
}

func killChild(dir string) error {
	db, err := sqlite.Open(dir, killOptions())
	if err != nil {
		return err
	}
	var mu sync.Mutex
	// One write(2) per line, no buffer: what is in the pipe survives the kill.
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stdout, format, args...)
	}
	say("up\n")
	start := db.Meta().Sequence
	for w := range killWriter {
		go func() {
			for n := start + 1; ; n++ {
				user := w + killWriter*int(n%(killUsers/killWriter))
				removed := n%5 == 4
				ops := userOps(user, n, removed)
				if err := db.Apply(string(ops[0].Key), ops...); err != nil {
					say("error %v\n", err)
					return
				}
				say("w %d %d %t\n", user, n, removed)
			}
		}()
	}
	for {
		_, to, err := db.Reserve("sqn", 32)
		if err != nil {
			return err
		}
		say("r %d\n", to)
	}
}

// promised is what the parent heard.
type promised struct {
	writes  int
	n       [killUsers]uint64
	removed [killUsers]bool
	sqn     uint64
}

// hear reads what a child says until its end, and calls acknowledged with each line of what was.
func (p *promised) hear(r io.Reader, acknowledged func()) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var user int
		var n uint64
		var removed bool
		switch line := lines.Text(); {
		case line == "up":
		case scan(line, "w %d %d %t", &user, &n, &removed):
			p.n[user], p.removed[user] = n, removed
			p.writes++
			acknowledged()
		case scan(line, "r %d", &n):
			if n <= p.sqn {
				return fmt.Errorf("reserved up to %d after %d", n, p.sqn)
			}
			p.sqn = n
			p.writes++
			acknowledged()
		default:
			return errors.New(line)
		}
	}
	return lines.Err()
}

func scan(line, format string, args ...any) bool {
	n, err := fmt.Sscanf(line, format, args...)
	return err == nil && n == len(args)
}

// check opens the store in this process and compares. A write that was on its way may be there or not, but whole.
func (p *promised) check(dir string) error {
	db, err := sqlite.Open(dir, killOptions())
	if err != nil {
		return err
	}
	defer db.Close()
	for user := range killUsers {
		key := userOps(user, 0, false)[0].Key
		twin, err := db.Get(storetest.Quiet, key)
		if errors.Is(err, store.ErrNotFound) && p.n[user] == 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("user %d: %v; acknowledged %d", user, err, p.n[user])
		}
		n, _ := strconv.ParseUint(string(twin.Value), 10, 64)
		if n < p.n[user] {
			return fmt.Errorf("user %d stands at %d, acknowledged %d", user, n, p.n[user])
		}
		rec, err := db.Get(storetest.Loud, key)
		removed := n%5 == 4
		switch {
		case removed && !errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("user %d was removed by %d and is there: %v", user, n, err)
		case !removed && (err != nil || rec.Version+1 != twin.Version || string(rec.Value) != string(userOps(user, n, false)[0].Value)):
			return fmt.Errorf("user %d: half of %d: %v", user, n, err)
		}
	}
	from, to, err := db.Reserve("sqn", 1)
	if err != nil || from < p.sqn {
		return fmt.Errorf("sqn from %d, %v; given up to %d", from, err, p.sqn)
	}
	p.sqn = to
	return nil
}

// TestKill kills a process that writes, again and again over one store. IMSAFE_KILLS sets how often.
func TestKill(t *testing.T) {
	kills := 20
	if text := os.Getenv("IMSAFE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	var p promised
	for i := range kills {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// From the very start (opening, replay) to some checkpoints later. Every second time that is counted from the first write: a machine that has much to
		// do may take longer than all of it for the start.
		kill := sync.OnceFunc(func() {
			time.AfterFunc(5*time.Millisecond+time.Duration((i%20)*(i%20))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		})
		if i%2 == 0 {
			kill()
		}
		if err := p.hear(out, kill); err != nil {
			t.Errorf("kill %d: %v", i, err)
		}
		kill()
		_ = cmd.Wait()
		if err := p.check(dir); err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
	}
	if p.writes == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d kills, %d acknowledged writes", kills, p.writes)
}
