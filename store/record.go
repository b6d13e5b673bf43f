package store

import (
	"encoding/binary"
	"fmt"
)

// A change in the journal, little-endian: flags:1 table:1 key length:2 expires:8, key, value. Its version is the sequence number
// that the journal gives it.
const (
	recordHeader  = 12
	recordDeleted = 1
)

func recordSize(key, value int) int { return recordHeader + key + value }

// encode writes c into b, which has the size of the record.
func (c *change) encode(b []byte) {
	b[0] = 0
	if c.deleted {
		b[0] = recordDeleted
	}
	b[1] = byte(c.table)
	binary.LittleEndian.PutUint16(b[2:], c.keyLen)
	binary.LittleEndian.PutUint64(b[4:], uint64(c.expires))
	copy(b[recordHeader:], c.block)
}

// decodeChange copies a record out of the journal.
func decodeChange(version uint64, b []byte) (change, error) {
	if len(b) < recordHeader {
		return change{}, fmt.Errorf("%w: record %d has %d octets", ErrCorrupt, version, len(b))
	}
	c := change{
		version: version,
		deleted: b[0]&recordDeleted != 0,
		table:   Table(b[1]),
		keyLen:  binary.LittleEndian.Uint16(b[2:]),
		expires: int64(binary.LittleEndian.Uint64(b[4:])),
	}
	if b[0]&^recordDeleted != 0 || int(c.keyLen) > len(b)-recordHeader || c.keyLen == 0 {
		return change{}, fmt.Errorf("%w: record %d cannot be read", ErrCorrupt, version)
	}
	c.block = append([]byte(nil), b[recordHeader:]...)
	return c, nil
}
