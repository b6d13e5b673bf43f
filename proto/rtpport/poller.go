package rtpport

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnpollable says that a poller cannot read a socket of that kind, or not on this system. Port.Serve can.
var ErrUnpollable = errors.New("rtpport: no socket that a poller can read")

// Poller reads the sockets of many ports with a few threads, in the place of a Port.Serve each. A voice call is a hundred packets a second at
// two ports: a goroutine for each socket sleeps and wakes for every packet, which costs more than the packet. A thread hears all ports that
// have something when it wakes, one packet of each in turn, so that a flood at one port waits for the others.
//
// Where packets come close together it does not wake for each, but gathers: see gather. All methods are safe for concurrent use.
type Poller struct {
	threads []*thread
	next    atomic.Uint32
	wg      sync.WaitGroup
}

// gather is how long a thread sleeps between two rounds while more than one packet comes in that time, as a network card does with its
// interrupts. It is a twentieth of the time between two packets of a voice, and less than what a busy scheduler adds.
const gather = time.Millisecond

// PollerConfig is what a poller is made of.
type PollerConfig struct {
	// Threads that read; at least one.
	Threads int
	// Failed, if not nil, is told of a port whose socket has failed for good, and that is read no more; of a thread that has, with nil.
	Failed func(*Port, error)
	// Unsent, if not nil, is told of each packet that the system refused after Port.Send had taken it.
	Unsent func()
}

// NewPoller starts the threads. Close ends them.
func NewPoller(c PollerConfig) (*Poller, error) {
	p := &Poller{}
	for range max(c.Threads, 1) {
		t, err := newThread(&c)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.threads = append(p.threads, t)
		p.wg.Go(t.run)
	}
	return p, nil
}

// NewPort makes a port of a UDP socket, which it owns from now on, and reads it until it is closed: Port.Serve is not for it. ErrUnpollable, or what
// the system says; then the socket is as it was.
func (p *Poller) NewPort(conn net.PacketConn) (*Port, error) {
	u, ok := conn.(*net.UDPConn)
	if !ok || len(p.threads) == 0 {
		return nil, ErrUnpollable
	}
	port := &Port{local: addrPort(u.LocalAddr())}
	if err := port.descriptor.share(u); err != nil {
		return nil, err
	}
	port.thread = p.threads[int(p.next.Add(1))%len(p.threads)]
	if err := port.thread.add(port); err != nil {
		_ = port.descriptor.close() // its error matters less
		return nil, err
	}
	_ = u.Close() // the socket lives on in the descriptor, and Go's run time hears no more of it
	return port, nil
}

// Close ends the threads and waits for them. The ports are their owner's, and are read no more.
func (p *Poller) Close() {
	for _, t := range p.threads {
		t.stop()
	}
	p.wg.Wait()
	for _, t := range p.threads {
		t.close()
	}
}
