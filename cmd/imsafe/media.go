package main

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/shard"
)

type mediaCmd struct{}

// anchorSocket is the descriptor that the process of a media anchor inherits.
const anchorSocket = 3

// Run is the life of that process.
func (*mediaCmd) Run(a *app) error {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP) // who has started it may be gone
	f := os.NewFile(anchorSocket, "anchor")
	ln, err := net.FileListener(f)
	if err != nil {
		return usage{errors.New("this is a part of a node, which imsafe run starts")}
	}
	_ = f.Close() // ln has a copy
	local, ok := ln.(*net.UnixListener)
	if !ok {
		return usage{errors.Join(errors.New("this is a part of a node, which imsafe run starts"), ln.Close())}
	}
	spareThread(a.getenv)
	return node.ServeAnchor(a.ctx, local, shard.RealClock(), rand.Reader)
}

// anchor is the media anchor in a process of its own; nil where the configuration wants none, or this is no process of the program.
func (a *app) anchor(c *config.Config, clock shard.Clock, log *slog.Logger) (*node.Anchor, error) {
	if len(c.CS.Listen) == 0 || c.CS.Process == "shared" || a.args == nil {
		return nil, nil
	}
	return node.OpenAnchor(node.AnchorOptions{Config: c, Policy: policy.Default(), Version: node.ProgramVersion(build()), Clock: clock, Log: log,
		Command: func() node.Command {
			return node.Command{Path: "/proc/self/exe", Args: []string{os.Args[0], "media"}, Env: environment(os.Environ())}
		}})
}

// environment is what the process has of ours: what Go's run time is told, and this program's own variables, none of which is a secret. It knows no credentials,
// and not who has started the node.
func environment(env []string) []string {
	runTime := []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK", "GORACE", "GOCOVERDIR"}
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(runTime, name) && !strings.HasPrefix(name, "IMSAFE_")
	})
}
