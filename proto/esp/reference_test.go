package esp

// A second ESP, written apart from the first and another way: strings of octets put together from the standards' figures, GCM from
// its definition (NIST SP 800-38D) over single AES blocks, HMAC from two hashes, CBC by hand. It shares nothing with the engine but
// AES, DES, SHA and MD5 of the standard library. test/kernelesp has the third opinion.

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"os/exec"
	"strings"
	"testing"

	"imsafe/proto/aka"
)

// refHMAC is RFC 2104 2 for hashes with blocks of 64 octets.
func refHMAC(h func([]byte) []byte, key, text []byte) []byte {
	block := func(pad byte) []byte {
		k := make([]byte, 64)
		copy(k, key)
		for i := range k {
			k[i] ^= pad
		}
		return k
	}
	return h(append(block(0x5c), h(append(block(0x36), text...))...))
}

func refSHA1(b []byte) []byte   { s := sha1.Sum(b); return s[:] }
func refMD5(b []byte) []byte    { s := md5.Sum(b); return s[:] }
func refSHA256(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// refSalt is TS 33.203 Annex I with TS 33.220 B.2: S = FC || P0 || L0, key CK || IK, the last four octets.
func refSalt(ck, ik []byte, fc byte, p0 string) []byte {
	s := append([]byte{fc}, p0...)
	s = append(s, byte(len(p0)>>8), byte(len(p0)))
	return refHMAC(refSHA256, append(bytes.Clone(ck), ik...), s)[28:]
}

// refGF multiplies in the field of GCM with numbers of any size, bit by bit (SP 800-38D 6.3).
func refGF(x, y []byte) []byte {
	z, v := new(big.Int), new(big.Int).SetBytes(y)
	r := new(big.Int).Lsh(big.NewInt(0xe1), 120)
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 == 1 {
			z.Xor(z, v)
		}
		odd := v.Bit(0) == 1
		v.Rsh(v, 1)
		if odd {
			v.Xor(v, r)
		}
	}
	return z.FillBytes(make([]byte, 16))
}

// refGCM is GCM with a nonce of 12 octets (SP 800-38D 7.1): ciphertext and tag.
func refGCM(b cipher.Block, nonce, plain, aad []byte) (out, tag []byte) {
	enc := func(in []byte) []byte { o := make([]byte, 16); b.Encrypt(o, in); return o }
	h := enc(make([]byte, 16))
	counter := func(n uint32) []byte { return enc(binary.BigEndian.AppendUint32(bytes.Clone(nonce), n)) }
	for i := range plain {
		out = append(out, plain[i]^counter(uint32(2 + i/16))[i%16])
	}
	pad := func(p []byte) []byte { return append(bytes.Clone(p), make([]byte, (16-len(p)%16)%16)...) }
	all := append(pad(aad), pad(out)...)
	all = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(all, uint64(len(aad)*8)), uint64(len(out)*8))
	y := make([]byte, 16)
	for ; len(all) > 0; all = all[16:] {
		for i := range y {
			y[i] ^= all[i]
		}
		y = refGF(y, h)
	}
	for i, k := range counter(1) {
		tag = append(tag, y[i]^k)
	}
	return out, tag
}

// refCBC is cipher block chaining by hand.
func refCBC(b cipher.Block, iv, plain []byte) (out []byte) {
	last := iv
	for ; len(plain) > 0; plain = plain[b.BlockSize():] {
		x := make([]byte, b.BlockSize())
		for i := range x {
			x[i] = plain[i] ^ last[i]
		}
		b.Encrypt(x, x)
		last, out = x, append(out, x...)
	}
	return out
}

// refChecksum is RFC 1071 in ones' complement, 16 bits at a time.
func refChecksum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		if s += w; s > 0xffff {
			s -= 0xffff
		}
	}
	return ^uint16(s)
}

// refUDP is a datagram of RFC 768 with its checksum over the pseudo-header.
func refUDP(src, dst []byte, sport, dport uint16, payload string) []byte {
	u := binary.BigEndian.AppendUint16(nil, sport)
	u = binary.BigEndian.AppendUint16(u, dport)
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(payload)))
	u = append(append(u, 0, 0), payload...)
	ps := append(append(bytes.Clone(src), dst...), 0, 17, byte(len(u)>>8), byte(len(u)))
	binary.BigEndian.PutUint16(u[6:], refChecksum(append(ps, u...)))
	return u
}

// refPacket is a whole ESP packet around inner.
func refPacket(tr Transform, ck, ik []byte, spi, seq uint32, iv, inner []byte, next byte) []byte {
	block := map[Encryption]int{AESCBC: 16, DESEDE3CBC: 8}[tr.Encryption]
	if block == 0 {
		block = 4
	}
	var pad byte
	for (len(inner)+2)%block != 0 {
		pad++
		inner = append(inner[:len(inner):len(inner)], pad)
	}
	inner = append(inner[:len(inner):len(inner)], pad, next)
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, spi), seq)
	switch {
	case tr.Encryption == AESGCM:
		b, _ := aes.NewCipher(ck)
		out, tag := refGCM(b, append(refSalt(ck, ik, 0x59, "AES_GCM_SALT"), iv...), inner, head)
		return append(append(append(head, iv...), out...), tag...)
	case tr.Integrity == AESGMAC:
		b, _ := aes.NewCipher(ik)
		p := append(append(head, iv...), inner...)
		_, tag := refGCM(b, append(refSalt(ck, ik, 0x58, "AES_GMAC_SALT"), iv...), nil, p)
		return append(p, tag...)
	}
	switch tr.Encryption {
	case AESCBC:
		b, _ := aes.NewCipher(ck)
		inner = refCBC(b, iv, inner)
	case DESEDE3CBC:
		b, _ := des.NewTripleDESCipher(append(bytes.Clone(ck), ck[:8]...))
		inner = refCBC(b, iv, inner)
	}
	p := append(append(head, iv...), inner...)
	if tr.Integrity == HMACMD5 {
		return append(p, refHMAC(refMD5, ik, p)[:12]...)
	}
	return append(p, refHMAC(refSHA1, append(bytes.Clone(ik), 0, 0, 0, 0), p)[:12]...)
}

// TestReferenceGCM holds the reference itself to test cases 3 and 4 of the GCM submission (McGrew and Viega, appendix B), which NIST
// repeats, so that it is known to be GCM.
func TestReferenceGCM(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b, _ := aes.NewCipher(unhex("feffe9928665731c6d6a8f9467308308"))
	plain := unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255")
	out, tag := refGCM(b, unhex("cafebabefacedbaddecaf888"), plain, nil)
	if hex.EncodeToString(out) != "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985" ||
		hex.EncodeToString(tag) != "4d5c2af327cd64a62cf35abd2ba6fab4" {
		t.Errorf("case 3: %x %x", out, tag)
	}
	_, tag = refGCM(b, unhex("cafebabefacedbaddecaf888"), plain[:60], unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"))
	if hex.EncodeToString(tag) != "5bc94fbc3221a5db94fae95ae7121a47" {
		t.Errorf("case 4: %x", tag)
	}
}

// TestHMACVectors are cases 1 of RFC 2202 2 and 3, through the engine's own signing.
func TestHMACVectors(t *testing.T) {
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{refHMAC(refMD5, bytes.Repeat([]byte{0x0b}, 16), []byte("Hi There")), "9294727a3638bb1c13f48ef8158bfc9d"},
		{refHMAC(refSHA1, bytes.Repeat([]byte{0x0b}, 20), []byte("Hi There")), "b617318655057264e28bc0b6fb378c8ef146be00"},
	} {
		if hex.EncodeToString(c.got) != c.want {
			t.Errorf("%x, want %s", c.got, c.want)
		}
	}
	ik := aka.IK(bytes.Repeat([]byte{0x0b}, 16))
	k, err := expand(Transform{HMACMD5, NoEncryption}, &aka.CK{}, &ik)
	if err != nil || hex.EncodeToString(k.sign([]byte("Hi There"))) != "9294727a3638bb1c13f48ef8158bfc9d" {
		t.Error("MD5 of the engine", err)
	}
}

// TestKnownPackets: every packet of the engine is the reference's to the octet, and the engine opens the reference's.
func TestKnownPackets(t *testing.T) {
	for _, tr := range transforms {
		for _, v6 := range []bool{false, true} {
			t.Run(tr.String(), func(t *testing.T) {
				r := newRig(t, tr, v6, false)
				src, dst := r.ueG.Local.AsSlice(), r.ueG.Peer.AsSlice()
				for n := range 40 {
					payload := strings.Repeat("x", n) + "OPTIONS"
					got := r.up(payload)
					iv := bytes.Clone(got[8 : 8+tr.iv()]) // random, so it is taken over; for GCM its form is checked elsewhere
					udp := refUDP(src, dst, r.ueG.Here.Port[Client], r.ueG.There.Port[Server], payload)
					want := refPacket(tr, testCK[:], testIK[:], r.ueG.There.SPI[Server], uint32(n+1), iv, udp, 17)
					if !bytes.Equal(got, want) {
						t.Fatalf("payload of %d octets:\ngot  %x\nwant %x", len(payload), got, want)
					}
					if d, drop := r.atP(want); drop != Accepted || string(d.Payload) != payload {
						t.Fatal(drop)
					}
				}
			})
		}
	}
}

// TestSalts: three derivations of the salts, the third by OpenSSL where it is installed.
func TestSalts(t *testing.T) {
	for _, c := range []struct {
		fc   byte
		p0   string
		ours [4]byte
	}{
		{0x58, "AES_GMAC_SALT", salt(&testCK, &testIK, saltGMAC)},
		{0x59, "AES_GCM_SALT", salt(&testCK, &testIK, saltGCM)},
	} {
		if want := refSalt(testCK[:], testIK[:], c.fc, c.p0); !bytes.Equal(c.ours[:], want) {
			t.Errorf("%s: %x, reference %x", c.p0, c.ours, want)
		}
		openssl, err := exec.LookPath("openssl")
		if err != nil {
			t.Log("no openssl: two derivations only")
			continue
		}
		cmd := exec.Command(openssl, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(testCK[:])+hex.EncodeToString(testIK[:]), "-hex")
		cmd.Stdin = strings.NewReader(string(c.fc) + c.p0 + "\x00" + string(rune(len(c.p0))))
		out, err := cmd.Output()
		if sum := strings.TrimSpace(string(out)); err != nil || !strings.HasSuffix(sum, hex.EncodeToString(c.ours[:])) {
			t.Errorf("%s: %x, openssl %q %v", c.p0, c.ours, sum, err)
		}
	}
}

// refuses packets that are authentic and wrong inside: only the peer itself could make them.
func TestAuthenticAndWrong(t *testing.T) {
	tr := transforms[3]
	r := newRig(t, tr, false, false)
	src, dst := ueAddr.AsSlice(), pAddr.AsSlice()
	udp := func() []byte {
		return refUDP(src, dst, r.ueG.Here.Port[Client], r.ueG.There.Port[Server], "hello, world")
	}
	seq := uint32(0)
	packet := func(inner []byte, next byte) []byte {
		seq++
		return refPacket(tr, testCK[:], testIK[:], r.ueG.There.SPI[Server], seq, nil, inner, next)
	}
	resign := func(p []byte, change func([]byte)) []byte {
		p = p[:len(p)-12]
		change(p)
		return append(p, refHMAC(refSHA1, append(bytes.Clone(testIK[:]), 0, 0, 0, 0), p)[:12]...)
	}
	for _, c := range []struct {
		name string
		pkt  []byte
		want Drop
	}{
		{"good", packet(udp(), 17), Accepted},
		{"no checksum over IPv4", packet(func() []byte { u := udp(); u[6], u[7] = 0, 0; return u }(), 17), Accepted},
		{"wrong checksum", packet(flip(udp(), -1), 17), DropInner},
		{"length too small", packet(flip(udp(), 5), 17), DropInner},
		{"dummy packet", packet(udp(), 59), DropNextHeader},
		{"ICMP", packet(udp(), 1), DropNextHeader},
		{"tunnel inside transport", packet(udp(), 4), DropNextHeader},
		{"less than a header", packet(udp()[:4], 17), DropInner},
		{"TCP shorter than its header", packet(udp()[:12], 6), DropInner},
		{"nothing inside", packet(nil, 17), DropInner},
		{"sequence number 0", func() []byte { seq--; p := packet(udp(), 17); return resign(p, func(p []byte) { clear(p[4:8]) }) }(), DropReplay},
		{"padding that counts wrong", resign(packet(udp(), 17), func(p []byte) { p[len(p)-3] = 7 }), DropPadding},
		{"padding longer than the packet", resign(packet(udp(), 17), func(p []byte) { p[len(p)-2] = 255 }), DropPadding},
	} {
		if _, drop := r.atP(c.pkt); drop != c.want {
			t.Errorf("%s: %v, want %v", c.name, drop, c.want)
		}
	}
	r = newRig(t, tr, true, false)
	src, dst = ueAddr6.AsSlice(), pAddr6.AsSlice()
	seq = 0
	u := udp()
	u[6], u[7] = 0, 0
	if _, drop := r.atP(packet(u, 17)); drop != DropInner {
		t.Errorf("no checksum over IPv6: %v", drop)
	}
}
