package durability

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"imsafe/iface/management"
	"imsafe/test/port"
)

// process is a node that can be killed and started again on its directory.
type process struct {
	dir     string
	address netip.AddrPort
	log     *os.File
	cmd     *exec.Cmd
	ended   chan error
	door    *management.Client
}

// newProcess prepares a directory, and a port that is the node's own however often it is killed. Nothing runs yet.
func newProcess(t testing.TB, dir string) (*process, error) {
	if err := newDirectory(dir); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "node.log"))
	if err != nil {
		return nil, err
	}
	address := port.Free(t, "127.0.0.1")
	c, err := configuration(dir, address.String())
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &process{dir: dir, address: address, log: log, door: management.NewClient(c.ManagementSocket())}, nil
}

// start starts the node. It does not wait until it serves.
func (p *process) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), childDir+"="+p.dir, childAddress+"="+p.address.String())
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(p.cmd, p.ended)
	return nil
}

// kill is SIGKILL. An error means that the node had ended by itself.
func (p *process) kill() error {
	select {
	case err := <-p.ended:
		return fmt.Errorf("durability: the node ended by itself: %v\n%s", err, p.tail())
	default:
	}
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.ended
	p.door.Close()
	return nil
}

// awaitDoor returns when the operator's door answers, which is after the store was opened and replayed.
func (p *process) awaitDoor(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		err := p.door.Call(ctx, "status", struct{}{}, nil)
		if err == nil {
			return nil
		}
		select {
		case ended := <-p.ended:
			return fmt.Errorf("durability: the node does not start: %v\n%s", ended, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("durability: the node does not serve after %v: %w\n%s", limit, err, p.tail())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// tail is the end of the node's log.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

func (p *process) close() error {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill() // it may have ended
	}
	return p.log.Close()
}
