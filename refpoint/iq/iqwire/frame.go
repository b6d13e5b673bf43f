package iqwire

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"imsafe/proto/shard"
)

// line is a connection: frames that are read by one goroutine and written by many.
type line struct {
	conn  net.Conn
	in    *bufio.Reader
	clock shard.Clock
	limit time.Duration // a write may take

	mu  sync.Mutex // guards out, and writes
	out []byte
}

func newLine(conn net.Conn, clock shard.Clock, limit time.Duration) *line {
	return &line{conn: conn, in: bufio.NewReaderSize(conn, header+maxFrame), clock: clock, limit: limit}
}

// read returns the next frame. After an error of the deadline it may be called again: nothing is lost.
func (l *line) read() (*message, error) {
	b, err := l.in.Peek(header)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b)
	if n > maxFrame {
		return nil, ErrFrame
	}
	if b, err = l.in.Peek(header + int(n)); err != nil {
		return nil, err
	}
	m, err := parse(b[header:])
	if err != nil {
		return nil, err
	}
	_, err = l.in.Discard(header + int(n))
	return m, err
}

// write sends a frame. ErrFrame: it cannot be written, and the connection is as it was; any other error ends the connection.
func (l *line) write(m *message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := m.append(l.out[:0])
	if err != nil {
		return err
	}
	l.out = b
	if err := l.conn.SetWriteDeadline(l.clock.Wall().Add(l.limit)); err != nil {
		return err
	}
	_, err = l.conn.Write(b)
	clear(b) // there may have been keys in it
	return err
}

// queue is what waits to be told, in order: no more than so much of what may be lost.
type queue struct {
	mu     sync.Mutex
	wake   sync.Cond
	waits  []*message
	closed bool
}

// maxQueue is how much waits of what may be lost.
const maxQueue = 1024

func newQueue() *queue {
	q := &queue{}
	q.wake.L = &q.mu
	return q
}

// put adds a message and reports whether there was room.
func (q *queue) put(m *message, must bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || !must && len(q.waits) >= maxQueue {
		return false
	}
	q.waits = append(q.waits, m)
	q.wake.Signal()
	return true
}

// next waits for a message; nil when the queue is closed and empty.
func (q *queue) next() *message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waits) == 0 && !q.closed {
		q.wake.Wait()
	}
	if len(q.waits) == 0 {
		return nil
	}
	m := q.waits[0]
	q.waits = q.waits[1:]
	return m
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
}
