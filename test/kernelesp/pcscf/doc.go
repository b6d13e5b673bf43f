// Package pcscf lets our own binary be the P-CSCF inside another kernel, whose XFRM is its back end of IPsec (proto/xfrm), with telephones of
// ours outside, whose ESP is proto/esp: two back ends, two kernels, one agreement.
//
// It has tests only, and needs what test/kernelesp/machine needs.
package pcscf
