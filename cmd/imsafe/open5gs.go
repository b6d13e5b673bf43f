package main

import (
	"encoding/json"
	"strconv"

	"imsafe/imsbox/hss"
)

// readOpen5GS reads the collection "subscribers" of an Open5GS database as mongoexport writes it: one JSON object per line, or an array.
// Of each it takes imsi, msisdn, and in security k, opc or op, amf and sqn. sqn is the whole sequence number, IND included, and is the
// next one: it rises by 32, one SEQ, for each vector.
func readOpen5GS(data []byte) (cards []foreignCard, _ []string, mistakes []hss.Mistake) {
	wrong := jsonValues(data, func(line int, o map[string]any) {
		security, ok := o["security"].(map[string]any)
		if !ok {
			mistakes = append(mistakes, mistakeAt(line, "security", "is missing: this is no subscriber of Open5GS (mongoexport -d open5gs -c subscribers)"))
			return
		}
		card := foreignCard{line: line, imsi: text(o, "imsi"), k: keyText(spaceless(text(security, "k"))), opc: keyText(spaceless(text(security, "opc"))),
			op: keyText(spaceless(text(security, "op"))), amf: spaceless(text(security, "amf"))}
		var good bool
		if card.sqn, good = mongoNumber(security["sqn"]); !good {
			mistakes = append(mistakes, mistakeAt(line, "security.sqn", "is not a whole number"))
		}
		numbers, _ := o["msisdn"].([]any)
		for _, n := range numbers {
			number, isText := n.(string)
			if !isText {
				mistakes = append(mistakes, mistakeAt(line, "msisdn", "is not a list of texts"))
				continue
			}
			card.numbers = append(card.numbers, plainNumber(number))
		}
		cards = append(cards, card)
	})
	return cards, nil, append(mistakes, wrong...)
}

// mongoNumber reads a number in both forms of MongoDB Extended JSON: plain, and {"$numberLong": "1"}. Nothing is 0.
func mongoNumber(v any) (uint64, bool) {
	switch v := v.(type) {
	case nil:
		return 0, true
	case json.Number:
		n, err := strconv.ParseUint(v.String(), 10, 64)
		return n, err == nil
	case map[string]any:
		for _, name := range []string{"$numberLong", "$numberInt"} {
			if s, ok := v[name].(string); ok && len(v) == 1 {
				n, err := strconv.ParseUint(s, 10, 64)
				return n, err == nil
			}
		}
	}
	return 0, false
}
