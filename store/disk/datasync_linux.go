package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync leaves out metadata that is not needed to read the data back: inside a preallocated file, all of it.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// reserve takes the blocks. Not every file system can (then the zeros take them).
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
