package secagree

import "strconv"

// AppendTo appends one mechanism in the form that all known phones read: no white space, parameters in the order
// q, alg, prot, mod, ealg, spi-c, spi-s, port-c, port-s, SPIs of ten digits (Annex H has ten), q of one width as far as
// it goes. It is one value: write each into a header field of its own, or join them with commas.
func (e *Entry) AppendTo(dst []byte) []byte {
	dst = append(dst, e.Mechanism...)
	if e.HasQ {
		dst = appendQ(append(dst, ";q="...), e.Q)
	}
	if e.Mechanism == IPsec3GPP {
		dst = append(append(dst, ";alg="...), e.Alg...)
		dst = append(append(dst, ";prot="...), e.Prot...)
		dst = append(append(dst, ";mod="...), e.Mode.token()...)
		dst = append(append(dst, ";ealg="...), e.EAlg...)
		dst = appendSPI(append(dst, ";spi-c="...), e.SPIC)
		dst = appendSPI(append(dst, ";spi-s="...), e.SPIS)
		dst = strconv.AppendUint(append(dst, ";port-c="...), uint64(e.PortC), 10)
		dst = strconv.AppendUint(append(dst, ";port-s="...), uint64(e.PortS), 10)
	}
	for _, p := range e.Other {
		dst = append(append(dst, ';'), p.Name...)
		if p.Value != "" {
			dst = append(append(dst, '='), p.Value...)
		}
	}
	return dst
}

// AppendTo appends the whole list with commas, the media plane's mechanisms last. A P-CSCF that answers writes one
// header field per entry instead; this form is for storing and for logs.
func (l *List) AppendTo(dst []byte) []byte {
	for i := range l.Entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = l.Entries[i].AppendTo(dst)
	}
	for i := range l.Media {
		if i > 0 || len(l.Entries) > 0 {
			dst = append(dst, ',')
		}
		dst = l.Media[i].AppendTo(dst)
	}
	return dst
}

// token writes the mode as Annex M spells it: a phone might compare it with regard to case.
func (m Mode) token() string {
	if m == UDPTunnel {
		return "UDP-enc-tun"
	}
	return string(m)
}

// appendQ appends 0.9 as "0.9" and never as "0.90": AOSP's client compares q as strings.
func appendQ(dst []byte, q uint16) []byte {
	dst = append(dst, byte('0'+q/1000), '.', byte('0'+q/100%10))
	if q%100 != 0 {
		dst = append(dst, byte('0'+q/10%10))
	}
	if q%10 != 0 {
		dst = append(dst, byte('0'+q%10))
	}
	return dst
}

// appendSPI appends ten digits.
func appendSPI(dst []byte, spi uint32) []byte {
	dst = append(dst, "0000000000"...)
	for i := len(dst) - 1; spi > 0; i-- {
		dst[i] = byte('0' + spi%10)
		spi /= 10
	}
	return dst
}
