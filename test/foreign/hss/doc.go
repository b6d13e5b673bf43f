// Package hss puts the CSCFs of imsafe onto a home subscriber server that is not ours, in anything: Erlang/OTP's Diameter with a Cx
// dictionary of its own carries the messages, and osmo-auc-gen computes the vectors and judges AUTS. testdata/hss.erl is the table of
// subscribers between the two. There is no proto/diameter and no proto/aka in it.
//
// Subscribers register with AKA, call, refresh, leave; a card is ahead; the HSS takes a subscriber away and changes a profile. Then
// the HSS misbehaves, falls silent, dies and comes back, alone and with another beside it. A capture goes to tshark.
//
// The package holds tests only.
package hss
