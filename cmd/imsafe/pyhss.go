package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"imsafe/imsbox/hss"
)

// The tables of PyHSS that count here.
const (
	tableAUC           = "auc"
	tableSubscriber    = "subscriber"
	tableIMSSubscriber = "ims_subscriber"
)

// tableRow is a row of a table of another server, with its columns by name.
type tableRow struct {
	line  int
	table string
	cells map[string]string // without those that are NULL
}

// readPyHSS reads what PyHSS knows of its subscribers: the answers of its API (auc/list, subscriber/list, ims_subscriber/list), CSV with a
// line of names for each table, or a dump in SQL, of one file in which they follow each other. A card of table auc belongs to the
// subscriber who has its IMSI or names its auc_id; the numbers are those of ims_subscriber. If that table is in the file, only who is in
// it comes over. sqn is the whole sequence number, IND included, that the next vector has.
func readPyHSS(data []byte) (cards []foreignCard, notes []string, mistakes []hss.Mistake) {
	rows, mistakes := pyhssRows(data)
	if len(mistakes) > 0 {
		return nil, nil, mistakes
	}
	h := &pyhss{imsiOf: map[string]string{}, subscribers: map[string]*tableRow{}, ims: map[string]*tableRow{}}
	for i := range rows {
		h.index(&rows[i])
	}
	for _, card := range h.auc {
		h.add(card)
	}
	for _, r := range h.imsOrder {
		if !h.used[r.cells["imsi"]] {
			h.mistakes = append(h.mistakes, mistakeAt(r.line, "imsi", "%s has no card: table auc is missing, or has no row with this IMSI", r.cells["imsi"]))
		}
	}
	if h.stock > 0 {
		h.notes = append(h.notes, fmt.Sprintf("%d cards of table auc belong to nobody and are left out", h.stock))
	}
	if h.dataOnly > 0 {
		h.notes = append(h.notes, fmt.Sprintf("%d subscribers are not in table ims_subscriber and are left out", h.dataOnly))
	}
	return h.cards, h.notes, h.mistakes
}

// pyhss joins the tables.
type pyhss struct {
	auc         []*tableRow
	imsOrder    []*tableRow
	imsiOf      map[string]string    // of the owner of an auc_id
	subscribers map[string]*tableRow // by IMSI
	ims         map[string]*tableRow // the same
	used        map[string]bool      // IMSIs that have a card

	cards           []foreignCard
	notes           []string
	mistakes        []hss.Mistake
	stock, dataOnly int
}

func (h *pyhss) index(r *tableRow) {
	imsi := r.cells["imsi"]
	switch r.table {
	case tableAUC:
		h.auc = append(h.auc, r)
	case tableSubscriber:
		h.subscribers[imsi] = r
		if id := r.cells["auc_id"]; id != "" {
			h.imsiOf[id] = imsi
		}
	case tableIMSSubscriber:
		if first := h.ims[imsi]; first != nil {
			h.mistakes = append(h.mistakes, mistakeAt(r.line, "imsi", "%s stands in line %d of ims_subscriber too: give it one row, with the other numbers in msisdn_list", imsi, first.line))
			return
		}
		h.ims[imsi] = r
		h.imsOrder = append(h.imsOrder, r)
	}
}

// add makes a card of a row of auc.
func (h *pyhss) add(r *tableRow) {
	imsi := r.cells["imsi"]
	if owner := h.imsiOf[r.cells["auc_id"]]; owner != "" {
		imsi = owner
	}
	if imsi == "" {
		h.stock++
		return
	}
	if h.used == nil {
		h.used = map[string]bool{}
	}
	h.used[imsi] = true
	ims := h.ims[imsi]
	if ims == nil && len(h.ims) > 0 {
		h.dataOnly++
		return
	}
	card := foreignCard{line: r.line, imsi: imsi, k: keyText(spaceless(r.cells["ki"])), opc: keyText(spaceless(r.cells["opc"])), amf: r.cells["amf"]}
	if sqn := r.cells["sqn"]; sqn != "" {
		n, err := strconv.ParseUint(sqn, 10, 64)
		if err != nil {
			h.mistakes = append(h.mistakes, mistakeAt(r.line, "sqn", "%q is not a whole number", sqn))
		}
		card.sqn = n
	}
	switch {
	case ims != nil:
		card.numbers = numbersOf(ims.cells["msisdn"] + "," + ims.cells["msisdn_list"])
	case h.subscribers[imsi] != nil:
		card.numbers = numbersOf(h.subscribers[imsi].cells["msisdn"])
	}
	h.cards = append(h.cards, card)
}

// numbersOf takes a list with commas apart, each number once.
func numbersOf(list string) (numbers []string) {
	for part := range strings.SplitSeq(list, ",") {
		if n := plainNumber(part); n != "" && !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// pyhssRows finds out which of the forms a file has, and reads it.
func pyhssRows(data []byte) ([]tableRow, []hss.Mistake) {
	start := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(start) == 0:
		return nil, nil
	case start[0] == '[' || start[0] == '{':
		return pyhssJSON(data)
	case looksLikeSQL(data):
		return dumpRows(data, []string{tableAUC, tableSubscriber, tableIMSSubscriber})
	}
	return pyhssCSV(data)
}

// tableOf tells a table by its columns; "" for one that does not count.
func tableOf(has func(column string) bool) string {
	switch {
	case has("ki") && has("opc"):
		return tableAUC
	case has("ims_subscriber_id") || has("msisdn_list"):
		return tableIMSSubscriber
	case has("subscriber_id") && has("auc_id"):
		return tableSubscriber
	}
	return ""
}

// pyhssJSON reads what the API answers.
func pyhssJSON(data []byte) (rows []tableRow, mistakes []hss.Mistake) {
	wrong := jsonValues(data, func(line int, o map[string]any) {
		r := tableRow{line: line, cells: map[string]string{}}
		r.table = tableOf(func(column string) bool { _, there := o[column]; return there })
		for column := range o {
			if value := text(o, column); value != "" {
				r.cells[column] = value
			}
		}
		if r.table == "" {
			mistakes = append(mistakes, mistakeAt(line, "json", "is of no table that counts here: auc, subscriber or ims_subscriber of PyHSS"))
			return
		}
		rows = append(rows, r)
	})
	return rows, append(mistakes, wrong...)
}

// pyhssCSV reads tables that begin with a line of names each.
func pyhssCSV(data []byte) (rows []tableRow, mistakes []hss.Mistake) {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.LazyQuotes = -1, true, false
	var names []string
	table := ""
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, mistakes
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			return nil, append(mistakes, mistakeAt(syntax.Line, "csv", "%v", syntax.Err))
		}
		line, _ := r.FieldPos(0)
		if header, of := headerOf(row); of != "" {
			names, table = header, of
			continue
		}
		switch {
		case table == "":
			return nil, append(mistakes, mistakeAt(line, "columns", "a table begins with the names of its columns, as PyHSS calls them: auc with ki and opc, ims_subscriber with msisdn_list"))
		case len(row) != len(names):
			mistakes = append(mistakes, mistakeAt(line, "columns", "%d of them; the line of names has %d", len(row), len(names)))
			continue
		}
		cells := map[string]string{}
		for i, value := range row {
			if value = strings.TrimSpace(value); value != "" && value != "NULL" && value != `\N` {
				cells[names[i]] = value
			}
		}
		rows = append(rows, tableRow{line, table, cells})
	}
}

// headerOf reads a row as a line of names.
func headerOf(row []string) (names []string, table string) {
	for _, cell := range row {
		names = append(names, strings.ToLower(strings.TrimSpace(cell)))
	}
	return names, tableOf(func(column string) bool { return slices.Contains(names, column) })
}
