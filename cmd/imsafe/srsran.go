package main

import (
	"strconv"
	"strings"

	"imsafe/imsbox/hss"
)

// srsColumns are those of user_db.csv of srsEPC, part of srsRAN 4G.
const srsColumns = "Name,Auth,IMSI,Key,OP_Type,OP/OPc,AMF,SQN,QCI,IP_alloc"

// readSrsRAN reads user_db.csv. It has no numbers. SQN is in hexadecimal, IND included; srsEPC writes the file when it stops.
func readSrsRAN(data []byte) (cards []foreignCard, notes []string, mistakes []hss.Mistake) {
	n := 0
	for row := range strings.Lines(string(data)) {
		n++
		row = strings.TrimSpace(row)
		if row == "" || row[0] == '#' {
			continue
		}
		cells := strings.Split(row, ",")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != strings.Count(srsColumns, ",")+1 {
			mistakes = append(mistakes, mistakeAt(n, "columns", "%d of them; 10 are needed (%s)", len(cells), srsColumns))
			continue
		}
		card := foreignCard{line: n, imsi: cells[2], k: keyText(cells[3]), amf: cells[6]}
		switch cells[4] {
		case "opc":
			card.opc = keyText(cells[5])
		case "op":
			card.op = keyText(cells[5])
		default:
			mistakes = append(mistakes, mistakeAt(n, "OP_Type", "%q is neither op nor opc", cells[4]))
		}
		if cells[1] != "mil" {
			mistakes = append(mistakes, mistakeAt(n, "Auth", "%q: only cards with Milenage (mil) can come over; XOR is a test algorithm without any security (TS 34.108 8.1.2)", cells[1]))
		}
		sqn, err := strconv.ParseUint(cells[7], 16, 64)
		if err != nil {
			mistakes = append(mistakes, mistakeAt(n, "SQN", "%q is not in hexadecimal", cells[7]))
		}
		card.sqn = sqn
		cards = append(cards, card)
	}
	return cards, notes, mistakes
}

// plainNumber takes off what people write around the digits of a number.
func plainNumber(s string) string {
	return strings.TrimPrefix(spaceless(s), "+")
}
