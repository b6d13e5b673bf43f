package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is a process under test, and what it took of the processor and of memory.
type Process struct {
	PID      int     `json:"pid"`
	Name     string  `json:"name"`
	User     float64 `json:"user_s"`
	System   float64 `json:"system_s"`
	Resident uint64  `json:"resident_octets"` // at the end
}

// jiffy is the unit of times in /proc: USER_HZ is 100 on every Linux there is.
const jiffy = 10 * time.Millisecond

// readProcess reads /proc/PID/stat and statm. CPU includes all threads, ended ones too.
func readProcess(pid int) (p Process, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	if p, err = parseStat(stat); err != nil {
		return p, err
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return p, err
	}
	if fields := strings.Fields(string(statm)); len(fields) > 1 {
		pages, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			return p, err
		}
		p.Resident = pages * uint64(os.Getpagesize())
	}
	return p, nil
}

// parseStat reads the line of /proc/PID/stat. The name stands in brackets and may hold any of them.
func parseStat(stat []byte) (p Process, err error) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 1 || end < open {
		return p, errors.New("/proc: no line of stat")
	}
	p.Name = string(stat[open+1 : end])
	if p.PID, err = strconv.Atoi(string(bytes.TrimSpace(stat[:open]))); err != nil {
		return p, err
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 13 {
		return p, errors.New("/proc: a short line of stat")
	}
	user, err := strconv.ParseUint(fields[11], 10, 64) // fields 14 and 15 of proc(5)
	if err != nil {
		return p, err
	}
	system, err := strconv.ParseUint(fields[12], 10, 64)
	p.User, p.System = float64(user)*jiffy.Seconds(), float64(system)*jiffy.Seconds()
	return p, err
}

// family adds the children of pids, and theirs.
func family(pids []int) ([]int, error) {
	all := append([]int(nil), pids...)
	for i := 0; i < len(all); i++ {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", all[i]))
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", all[i], err)
		}
		for _, task := range tasks {
			children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", all[i], task.Name()))
			if err != nil {
				continue // a thread that has ended meanwhile
			}
			for _, child := range strings.Fields(string(children)) {
				if pid, err := strconv.Atoi(child); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all, nil
}

// Sample reads all of pids.
func Sample(pids []int) ([]Process, error) {
	all := make([]Process, 0, len(pids))
	for _, pid := range pids {
		p, err := readProcess(pid)
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// Used is what was taken between two samples of the same processes.
func Used(before, after []Process) []Process {
	all := make([]Process, len(after))
	for i, p := range after {
		p.User, p.System = p.User-before[i].User, p.System-before[i].System
		all[i] = p
	}
	return all
}
