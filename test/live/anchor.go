package live

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/shard"
)

// asAnchor tells a test binary that it is the process of a media anchor.
const asAnchor = "IMSAFE_TEST_ANCHOR"

// BeAnchor lets a test binary be the process of a media anchor (Options.AnchorProcess). TestMain calls it before anything else: it returns
// where the process is a test.
func BeAnchor() {
	if os.Getenv(asAnchor) == "" {
		return
	}
	signal.Ignore(syscall.SIGPIPE)
	ln, err := net.FileListener(os.NewFile(3, "anchor"))
	if err == nil {
		err = node.ServeAnchor(context.Background(), ln.(*net.UnixListener), shard.RealClock(), rand.Reader)
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// openAnchor starts the anchor; nil where the test wants none of its own.
func openAnchor(o Options, c *config.Config, clock shard.Clock, log *slog.Logger) (*node.Anchor, error) {
	if !o.AnchorProcess {
		return nil, nil
	}
	return node.OpenAnchor(node.AnchorOptions{Config: c, Policy: policy.Default(), Version: "test", Clock: clock, Log: log, Command: func() node.Command {
		return node.Command{Path: "/proc/self/exe", Args: []string{"anchor", "of a test"}, Env: append(os.Environ(), asAnchor+"=yes", "GORACE=atexit_sleep_ms=0")}
	}})
}

// ProcessUsage is what another process holds at a moment, as the kernel has it.
type ProcessUsage struct {
	Memory      int // octets of its own, without files
	Threads     int
	Descriptors int // -1: only root may see those of a process that nobody may look into
}

// UsageOf measures a process.
func UsageOf(pid int) (u ProcessUsage, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		var into *int
		unit := 1
		switch fields[0] {
		case "RssAnon:":
			into, unit = &u.Memory, 1<<10
		case "Threads:":
			into = &u.Threads
		default:
			continue
		}
		v, err := strconv.Atoi(fields[1])
		if err != nil {
			return u, err
		}
		*into = v * unit
	}
	u.Descriptors = -1
	if open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
		u.Descriptors = len(open)
	}
	return u, nil
}
