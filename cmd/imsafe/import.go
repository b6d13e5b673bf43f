package main

import (
	"bytes"
	"errors"
	"fmt"

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
	Format string `help:"json: one subscriber per line. csv: the columns iccid, imsi, ki, opc, amf, msisdn, impu, impi, group, or those that the first line names. auto: by the first character." enum:"auto,json,csv" default:"auto"`
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
	return v.with(a, need{keys: true}, func(house operations) error {
		lines := string(data)
		if v.isCSV(data) {
			domain, err := domainOf(a, house)
			if err != nil {
				return err
			}
			converted, mistakes := csvToLines(data, domain, v.Group)
			if len(mistakes) > 0 {
				return node.MistakesError(mistakes)
			}
			lines = converted
		} else if v.Group != "" {
			return usage{errors.New("--group is for CSV; in JSON each line names its group")}
		}
		if _, far := house.(remote); far && len(lines) > maxRemoteImport {
			return fmt.Errorf("%d MB are more than a running node takes at once: split the file, or stop the node first", len(lines)>>20)
		}
		stop := a.progress("importing " + v.File)
		var report hss.ImportReport
		err := house.Call(a.ctx, "user.import", node.ImportUsers{Lines: lines, DryRun: v.DryRun}, &report)
		stop()
		if err != nil {
			return err
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

// isCSV looks at the first character that counts.
func (v *userImportCmd) isCSV(data []byte) bool {
	if v.Format != "auto" {
		return v.Format == "csv"
	}
	first := bytes.TrimLeft(data, " \t\r\n")
	return len(first) > 0 && first[0] != '{'
}
