//go:build !linux

package nftdrop

type table struct{}

func (*table) install(Config) error { return ErrUnsupported }
func (*table) add([]source) error   { return ErrUnsupported }

// Dropped returns ErrUnsupported.
func (*table) Dropped() (uint64, error) { return 0, ErrUnsupported }

// Close does nothing.
func (*Rules) Close() error { return nil }
