package report

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
)

// CSV writes the tables for spreadsheets, by their file names.
func (r *Report) CSV() map[string][]byte {
	return map[string][]byte{"cells.csv": r.cellsCSV(), "risks.csv": r.risksCSV(), "x805.csv": r.x805CSV(), "requirements.csv": r.requirementsCSV()}
}

// sheet writes rows. A cell that a spreadsheet would take for a formula gets an apostrophe.
func sheet(rows [][]string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for _, row := range rows {
		for i, text := range row {
			if text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
				row[i] = "'" + text
			}
		}
		_ = w.Write(row) // to memory
	}
	w.Flush()
	return b.Bytes()
}

func (r *Report) cellsCSV() []byte {
	rows := [][]string{{"interface", "service", "state", "proven", "total", "mechanisms", "attacks", "excused", "why"}}
	for _, c := range r.Cells {
		var mechanisms, attacks []string
		for _, m := range c.Mechanisms {
			mechanisms = append(mechanisms, m.ID+" ("+string(m.State)+")")
		}
		for _, a := range c.Attacks {
			attacks = append(attacks, a.ID+" ("+string(a.State)+")")
		}
		rows = append(rows, []string{c.Door, c.Service, string(c.State), strconv.Itoa(c.Proven), strconv.Itoa(c.Total), strings.Join(mechanisms, "; "),
			strings.Join(attacks, "; "), strings.Join(c.Excused, "; "), strings.Join(c.Why, "; ")})
	}
	return sheet(rows)
}

func (r *Report) risksCSV() []byte {
	rows := [][]string{{"number", "attack", "variant", "asset", "position", "finding", "impact", "likelihood before A", "likelihood before B", "risk before",
		"band before", "likelihood after A", "likelihood after B", "risk after", "band after", "floor", "at its floor", "bands differ", "accepted by", "why"}}
	for _, e := range r.Register.Entries {
		owner := ""
		if e.Accepted != nil && !e.Expired {
			owner = e.Accepted.Owner
		}
		n := strconv.Itoa
		rows = append(rows, []string{e.Number, e.Attack, e.Variant, e.Asset, e.Position, string(e.Finding), n(e.After.Impact), n(e.Before.Ratings[0].Likelihood),
			n(e.Before.Ratings[1].Likelihood), n(e.Before.Risk.Value), e.Before.Risk.Band, n(e.After.Ratings[0].Likelihood), n(e.After.Ratings[1].Likelihood),
			n(e.After.Risk.Value), e.After.Risk.Band, n(e.Floor.Value), strconv.FormatBool(e.AtFloor), strconv.FormatBool(e.Differ), owner, e.Why})
	}
	return sheet(rows)
}

func (r *Report) x805CSV() []byte {
	rows := [][]string{{"layer", "plane", "dimension", "threat", "state", "attacks", "controls", "why"}}
	for _, m := range r.X805.Modules {
		for _, c := range m.Cells {
			for _, s := range c.Slots {
				rows = append(rows, []string{m.Layer, m.Plane, c.Dimension, s.Threat, string(s.State), strings.Join(s.Attacks, "; "),
					strings.Join(s.Controls, "; "), s.Why})
			}
		}
	}
	return sheet(rows)
}

func (r *Report) requirementsCSV() []byte {
	rows := [][]string{{"control", "interface", "service", "level", "state", "mechanism", "clause", "dimension", "attacks", "why"}}
	for _, q := range r.Requirements {
		rows = append(rows, []string{q.Control, q.Door, q.Service, q.Level, string(q.State), q.Mechanism, q.Clause, q.Dimension, strings.Join(q.Attacks, "; "), q.Why})
	}
	return sheet(rows)
}
