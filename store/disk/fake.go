package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// Errors of Fake.
var (
	// ErrCut: the power is off (CutAfter). The next thing to do is Crash.
	ErrCut = errors.New("disk: power is off")
	// ErrSync is an injected failure of Datasync.
	ErrSync = errors.New("disk: injected sync error")
)

// Fake is a Disk in memory. What was written is visible at once and durable after Datasync; what was created, renamed or removed is
// durable after SyncDir. Crash returns a new Fake with what a power cut would leave: of the sectors written since the last sync any
// subset, of the directory changes since the last SyncDir any prefix. The same seed gives the same subsets.
type Fake struct {
	mu      sync.Mutex
	rng     *rand.Rand
	names   map[string]*inode // as seen now
	durable map[string]*inode // as of the last SyncDir
	pending []dirChange       // since then
	locked  bool

	ops      int // operations that change something, so far
	cutAt    int // ops at which the power goes; 0 never
	failSync int // syncs until one fails; 0 never
	capacity int64
	delay    func() time.Duration
	now      func() time.Duration
	sleep    func(time.Duration)
	busy     time.Duration // until when the last sync lasts
}

// dirChange is one change of the directory, to be replayed over the durable one. A nil file removes name.
type dirChange struct {
	name string
	file *inode
	from string // renamed from
}

// inode is a file whatever its name.
type inode struct {
	data    []byte
	durable []byte
	dirty   map[int64]struct{} // sectors written since the last sync
	// syncing sectors were handed to a sync that is over at syncEnds (deferred mode).
	syncing  map[int64]struct{}
	syncEnds time.Duration
}

// NewFake returns an empty disk without faults.
func NewFake(seed uint64) *Fake {
	return &Fake{
		rng:     rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
		names:   map[string]*inode{},
		durable: map[string]*inode{},
	}
}

// CutAfter turns the power off during the n-th operation from now that changes something (1 is the next): a write is torn, a sync
// or a directory change does not happen. From then on everything returns ErrCut. 0 takes it back.
func (d *Fake) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = 0
	if n > 0 {
		d.cutAt = d.ops + n
	}
}

// Ops returns how many operations changed something so far: the range for CutAfter.
func (d *Fake) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// FailSync makes the n-th sync from now fail (1 is the next, 0 takes it back). As with a real kernel the pages are clean afterwards:
// they are read back, they are lost in a crash, and a second sync says nothing.
func (d *Fake) FailSync(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSync = n
}

// Capacity bounds the sum of all file sizes in octets; 0 is no bound.
func (d *Fake) Capacity(octets int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = octets
}

// SlowSync gives each sync the time that delay returns, under the clock now. With sleep, Datasync calls it and returns afterwards.
// Without, Datasync returns at once, Busy tells until when the sync really lasts, and what it covers is durable only from then on:
// the manual mode of the store waits for Busy.
func (d *Fake) SlowSync(now func() time.Duration, delay func() time.Duration, sleep func(time.Duration)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now, d.delay, d.sleep = now, delay, sleep
}

// Busy returns the instant at which the last sync is over; 0 if syncs take no time.
func (d *Fake) Busy() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy
}

// Crash returns the disk after a power cut. The old one is not to be used any more: it answers ErrCut. Faults are not inherited.
func (d *Fake) Crash() *Fake {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := &Fake{
		rng:   rand.New(rand.NewPCG(d.rng.Uint64(), d.rng.Uint64())),
		names: map[string]*inode{}, durable: map[string]*inode{},
		now: d.now,
	}
	for _, c := range d.pending[:d.rng.IntN(len(d.pending)+1)] {
		c.apply(d.durable)
	}
	// None of it, all of it, or each sector by itself: the states in between are many, the two ends must not be rare.
	keep := []float64{0, 1, 0.5}[d.rng.IntN(3)]
	for _, name := range slices.Sorted(maps.Keys(d.durable)) {
		after.names[name] = d.durable[name].crash(d, keep)
	}
	maps.Copy(after.durable, after.names)
	d.cutAt, d.ops = 1, 1
	return after
}

// apply makes the change in a directory.
func (c dirChange) apply(dir map[string]*inode) {
	delete(dir, c.from)
	if c.file == nil {
		delete(dir, c.name)
		return
	}
	dir[c.name] = c.file
}

// crash returns the file as the platter has it, with unsynced sectors kept at that probability. Called with d.mu held.
func (f *inode) crash(d *Fake, keep float64) *inode {
	f.settle(d)
	left := slices.Clone(f.durable)
	maps.Copy(f.dirty, f.syncing)
	for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
		if d.rng.Float64() >= keep {
			continue
		}
		end := min((s+1)*sector, int64(len(f.data)))
		if int64(len(left)) < end {
			left = append(left, make([]byte, end-int64(len(left)))...)
		}
		copy(left[s*sector:end], f.data[s*sector:end])
	}
	return &inode{data: left, durable: slices.Clone(left), dirty: map[int64]struct{}{}}
}

// settle makes durable what a deferred sync has finished. Called with d.mu held.
func (f *inode) settle(d *Fake) {
	if len(f.syncing) > 0 && d.now != nil && d.now() >= f.syncEnds {
		f.makeDurable(f.syncing)
		f.syncing = nil
	}
}

func (f *inode) makeDurable(sectors map[int64]struct{}) {
	if len(f.durable) < len(f.data) {
		f.durable = append(f.durable, make([]byte, len(f.data)-len(f.durable))...)
	}
	for s := range sectors {
		end := min((s+1)*sector, int64(len(f.data)))
		copy(f.durable[s*sector:end], f.data[s*sector:end])
	}
}

// step counts an operation and says whether the power is still on; last is true for the one it goes off in.
func (d *Fake) step() (err error, last bool) {
	d.ops++
	if d.cutAt == 0 || d.ops < d.cutAt {
		return nil, false
	}
	return ErrCut, d.ops == d.cutAt
}

func (d *Fake) off() error {
	if d.cutAt != 0 && d.ops >= d.cutAt {
		return ErrCut
	}
	return nil
}

// Open implements Disk.
func (d *Fake) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.off(); err != nil {
		return nil, err
	}
	f, ok := d.names[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &fakeFile{d: d, f: f}, nil
}

// Create implements Disk. The name is durable after SyncDir.
func (d *Fake) Create(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[name]; ok {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f := &inode{dirty: map[int64]struct{}{}}
	if err := d.change(dirChange{name: name, file: f}); err != nil {
		return nil, err
	}
	return &fakeFile{d: d, f: f}, nil
}

// Remove implements Disk.
func (d *Fake) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[name]; !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	return d.change(dirChange{name: name})
}

// Rename implements Disk.
func (d *Fake) Rename(oldName, newName string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[oldName]
	if !ok {
		return &fs.PathError{Op: "rename", Path: oldName, Err: fs.ErrNotExist}
	}
	return d.change(dirChange{name: newName, file: f, from: oldName})
}

// change is a directory change, seen at once. Called with mu held.
func (d *Fake) change(c dirChange) error {
	if err, _ := d.step(); err != nil {
		return err
	}
	c.apply(d.names)
	d.pending = append(d.pending, c)
	return nil
}

// ReadDir implements Disk.
func (d *Fake) ReadDir() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.off(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(d.names)), nil
}

// SyncDir implements Disk.
func (d *Fake) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err, _ := d.step(); err != nil {
		return err
	}
	d.durable = maps.Clone(d.names)
	d.pending = nil
	return nil
}

// Lock excludes a second holder of this Fake. PID is 0: there is only this process.
func (d *Fake) Lock() (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, &LockedError{Path: "fake"}
	}
	d.locked = true
	return fakeLock{d}, nil
}

type fakeLock struct{ d *Fake }

func (l fakeLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.locked = false
	return nil
}

// fakeFile is an open file of a Fake.
type fakeFile struct {
	d *Fake
	f *inode
}

func (o *fakeFile) ReadAt(p []byte, off int64) (int, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if err := o.d.off(); err != nil {
		return 0, err
	}
	if off >= int64(len(o.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, o.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *fakeFile) WriteAt(p []byte, off int64) (int, error) {
	d := o.d
	d.mu.Lock()
	defer d.mu.Unlock()
	err, last := d.step()
	if err != nil {
		if last { // torn: some sectors of it are on their way
			o.f.write(p[:d.rng.IntN(len(p)+1)], off)
		}
		return 0, err
	}
	if err := d.room(off + int64(len(p)) - int64(len(o.f.data))); err != nil {
		return 0, err
	}
	o.f.write(p, off)
	return len(p), nil
}

// room says whether the disk can grow by so many octets. Called with mu held.
func (d *Fake) room(growth int64) error {
	if d.capacity == 0 || growth <= 0 {
		return nil
	}
	used := growth
	for _, f := range d.names {
		used += int64(len(f.data))
	}
	if used > d.capacity {
		return fmt.Errorf("disk: %d octets more: %w", growth, ErrFull)
	}
	return nil
}

func (f *inode) write(p []byte, off int64) {
	end := off + int64(len(p))
	if int64(len(f.data)) < end {
		f.data = append(f.data, make([]byte, end-int64(len(f.data)))...)
	}
	copy(f.data[off:end], p)
	for s := off / sector; s*sector < end; s++ {
		f.dirty[s] = struct{}{}
	}
}

func (o *fakeFile) Datasync() error {
	d := o.d
	d.mu.Lock()
	if err, _ := d.step(); err != nil {
		d.mu.Unlock()
		return err
	}
	if d.failSync > 0 {
		if d.failSync--; d.failSync == 0 {
			clear(o.f.dirty)
			d.mu.Unlock()
			return ErrSync
		}
	}
	o.f.settle(d)
	if d.delay == nil {
		o.f.makeDurable(o.f.dirty)
		clear(o.f.dirty)
		d.mu.Unlock()
		return nil
	}
	wait := d.delay()
	if d.sleep == nil {
		d.busy = max(d.busy, d.now()) + wait // one queue: syncs end one after the other
		o.f.syncEnds = d.busy
		if o.f.syncing == nil {
			o.f.syncing = map[int64]struct{}{}
		}
		maps.Copy(o.f.syncing, o.f.dirty)
		clear(o.f.dirty)
		d.mu.Unlock()
		return nil
	}
	covered := maps.Clone(o.f.dirty)
	d.mu.Unlock()
	d.sleep(wait)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.off(); err != nil {
		return err
	}
	o.f.makeDurable(covered)
	for s := range covered {
		delete(o.f.dirty, s)
	}
	return nil
}

func (o *fakeFile) Preallocate(size int64) error {
	d := o.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err, _ := d.step(); err != nil {
		return err
	}
	if err := d.room(size - int64(len(o.f.data))); err != nil {
		return err
	}
	o.f.data = make([]byte, size)
	o.f.durable = make([]byte, size)
	clear(o.f.dirty)
	return nil
}

func (o *fakeFile) Size() (int64, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	return int64(len(o.f.data)), o.d.off()
}

func (o *fakeFile) Close() error { return nil }
