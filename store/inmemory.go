package store

import (
	"math/rand/v2"
	"strconv"

	"imsafe/store/disk"
)

// InMemory opens a complete store that lives in this process only, for tests of rooms that need one: a disk without faults, an image
// in memory, all tables from 1 to 255 declared, no waiting for company. Close it at the end.
func InMemory(clock Clock) (*DB, error) {
	o := Options{
		Disk: disk.NewFake(1), Image: Memory().Open, Clock: clock, Random: rand.NewChaCha8([32]byte{}), Lab: true,
		Window: -1, SegmentBytes: 4 << 20,
	}
	for t := 1; t < 256; t++ {
		o.Tables = append(o.Tables, TableSpec{Table: Table(t), Name: "t" + strconv.Itoa(t)})
	}
	return Open(o)
}
