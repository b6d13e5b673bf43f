package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockName is the file that carries the flock and, for people and error messages, the pid of the holder.
const lockName = "lock"

// osDisk is a directory of the operating system.
type osDisk struct{ dir string }

// OS returns the directory dir, which must exist. New files are readable by their owner only.
func OS(dir string) Disk { return osDisk{dir: dir} }

func (d osDisk) Open(name string) (File, error) {
	return d.open(name, os.O_RDWR)
}

func (d osDisk) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d osDisk) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), flag, 0o600)
	if err != nil {
		return nil, full(err)
	}
	return osFile{f: f}, nil
}

func (d osDisk) Remove(name string) error { return os.Remove(filepath.Join(d.dir, name)) }

func (d osDisk) Rename(oldName, newName string) error {
	return full(os.Rename(filepath.Join(d.dir, oldName), filepath.Join(d.dir, newName)))
}

func (d osDisk) ReadDir() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

func (d osDisk) SyncDir() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return full(f.Sync())
}

// Lock uses flock(2): the kernel releases it when the holder dies, however it dies, so there is no stale lock to judge.
func (d osDisk) Lock() (io.Closer, error) {
	path := filepath.Join(d.dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, full(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("disk: lock %s: %w", path, err)
		}
		text := make([]byte, 20)
		n, _ := f.ReadAt(text, 0)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
		return nil, &LockedError{Path: d.dir, PID: pid}
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
		if err != nil {
			f.Close()
			return nil, full(err)
		}
	}
	return f, nil
}

// osFile is a file of the operating system.
type osFile struct{ f *os.File }

func (o osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }

func (o osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := o.f.WriteAt(p, off)
	return n, full(err)
}

func (o osFile) Datasync() error { return full(datasync(o.f)) }

func (o osFile) Preallocate(size int64) error {
	// Reserving first keeps the file in few extents and finds a full disk before anything is written.
	if err := reserve(o.f, size); err != nil {
		return full(err)
	}
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; {
		n, err := o.f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off)
		if err != nil {
			return full(err)
		}
		off += int64(n)
	}
	return full(o.f.Sync()) // the size is metadata: a whole sync, once
}

func (o osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (o osFile) Close() error { return o.f.Close() }

// full gives the many names of a full disk one.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w (%w)", ErrFull, err)
	}
	return err
}
