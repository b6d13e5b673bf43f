package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"imsafe/imsbox/hss"
	"imsafe/node"
)

// maxRemoteImport is what fits through the management door; without a node there is no such limit.
const maxRemoteImport = 48 << 20

// maxImport bounds a file: two million subscribers, the most that the HSS takes at once, have some 600 MB.
const maxImport = 1 << 30

type userImportCmd struct {
	operator
	File   string `arg:"" help:"The file, for its owner alone because it holds keys; - is standard input." type:"path"`
	Format string `help:"json: one subscriber per line. csv: the columns iccid, imsi, ki, opc, amf, msisdn, impu, impi, group, or those that the first line names. auto: by the first character. Of other servers: open5gs (mongoexport of subscribers), pyhss (JSON, CSV or SQL of auc and ims_subscriber), srsran (user_db.csv)." enum:"auto,json,csv,open5gs,pyhss,srsran" default:"auto"`
	Group  string `help:"Group of those that name none." placeholder:"NAME"`
	DryRun bool   `help:"Only check every line; change nothing."`
}

// Run imports the file. Everything is checked first: with any mistake nothing is changed.
func (v *userImportCmd) Run(a *app) error {
	data, err := a.readSecret(v.File, maxImport)
	if err != nil {
		return err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // what spreadsheets put in front
	if len(bytes.TrimSpace(data)) == 0 {                  // an export that has failed, at the other end of a pipe
		return fmt.Errorf("%s is empty: there is no subscriber in it, and nothing was changed", v.File)
	}
	return v.with(a, need{keys: true}, func(house operations) error {
		lines, place, err := v.lines(a, house, data)
		if err != nil {
			return err
		}
		if _, far := house.(remote); far && len(lines) > maxRemoteImport {
			return fmt.Errorf("%d MB are more than a running node takes at once: split the file, or stop the node first", len(lines)>>20)
		}
		data = nil // the lines have what was in it
		report, err := v.add(a, house, lines)
		if err != nil {
			return place(err)
		}
		switch {
		case a.json:
			a.print(report)
		case v.DryRun:
			a.say("%d subscribers can be added; nothing was changed", report.Subscribers)
		default:
			a.say("%d of %d subscribers are added", report.Added, report.Subscribers)
		}
		return nil
	})
}

// add hands the lines over: to the node that runs, or to the store that this process holds, which says how far it is.
func (v *userImportCmd) add(a *app, house operations, lines string) (report hss.ImportReport, err error) {
	here, isHere := house.(*direct)
	if !isHere {
		defer a.progress("importing " + v.File)()
		err = house.Call(a.ctx, "user.import", node.ImportUsers{Lines: lines, DryRun: v.DryRun}, &report)
		return report, err
	}
	var checked, added atomic.Int64
	defer a.progressOf(func() string {
		return fmt.Sprintf("importing %s: %d lines checked, %d subscribers added", v.File, checked.Load(), added.Load())
	})()
	return here.house.ImportFile(a.ctx, strings.NewReader(lines), v.DryRun, func(r hss.ImportReport) {
		checked.Store(int64(r.Subscribers))
		added.Store(int64(r.Added))
	})
}

// lines makes one subscriber per line of the file, and says how a mistake in one of them is placed in the file.
func (v *userImportCmd) lines(a *app, house operations, data []byte) (lines string, place func(error) error, err error) {
	place = func(err error) error { return err }
	_, foreign := foreignFormats[v.Format]
	if !foreign && !v.isCSV(data) {
		if v.Group != "" {
			return "", nil, usage{errors.New("--group is not for JSON, where each line names its group")}
		}
		return string(data), place, nil
	}
	status, err := statusOf(a, house)
	if err != nil {
		return "", nil, err
	}
	var mistakes []hss.Mistake
	if foreign {
		c := convertForeign(v.Format, data, status.Domain, v.Group)
		for _, note := range c.notes {
			fmt.Fprintln(a.stderr, "imsafe:", note)
		}
		lines, mistakes, place = c.lines, c.mistakes, c.place
	} else {
		lines, mistakes = csvToLines(data, status.Domain, status.CardScheme, v.Group)
	}
	if len(mistakes) > 0 {
		return "", nil, node.MistakesError(mistakes)
	}
	return lines, place, nil
}

// isCSV looks at the first character that counts.
func (v *userImportCmd) isCSV(data []byte) bool {
	if v.Format != "auto" {
		return v.Format == "csv"
	}
	first := bytes.TrimLeft(data, " \t\r\n")
	return len(first) > 0 && first[0] != '{'
}
