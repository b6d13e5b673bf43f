// Package wire tests the network functions split over processes: what passes in process passes over the wire forms of the
// reference points too. It holds tests only, and stands above all rooms because it joins functions to wire forms, which
// otherwise node alone may do.
package wire
