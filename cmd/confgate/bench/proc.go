package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// procRoot is where Linux shows its processes.
const procRoot = "/proc"

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration // user and system, of all threads
	rss uint64        // bytes resident now
}

// usageOf reads what a process has used (proc(5)).
func usageOf(root string, pid int) (usage, error) {
	dir := filepath.Join(root, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, err
	}
	var u usage
	if u.cpu, err = parseStat(stat); err != nil {
		return usage{}, err
	}
	u.rss, err = parseStatus(status)
	return u, err
}

// lookAtSelf reads what this process has used; nothing where there is no /proc.
func lookAtSelf() usage {
	u, err := usageOf(procRoot, os.Getpid())
	if err != nil {
		return usage{}
	}
	return u
}

// parseStat gives utime plus stime of /proc/PID/stat.
func parseStat(b []byte) (time.Duration, error) {
	const (
		tick         = 10 * time.Millisecond // USER_HZ is 100 in every port of Linux
		utime, stime = 14 - 3, 15 - 3        // the name, field 2, may hold anything: count from behind it
	)
	_, rest, ok := cutLast(b, ')')
	fields := bytes.Fields(rest)
	if !ok || len(fields) <= stime {
		return 0, errors.New("stat: too few fields")
	}
	var ticks uint64
	for _, f := range [][]byte{fields[utime], fields[stime]} {
		n, err := strconv.ParseUint(string(f), 10, 63)
		if err != nil {
			return 0, fmt.Errorf("stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

func cutLast(b []byte, sep byte) (before, after []byte, ok bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}

// parseStatus gives VmRSS of /proc/PID/status, in bytes.
func parseStatus(b []byte) (uint64, error) {
	for line := range strings.Lines(string(b)) {
		value, ok := strings.CutPrefix(line, "VmRSS:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 53)
		if err != nil {
			return 0, fmt.Errorf("status: %w", err)
		}
		return kb << 10, nil
	}
	return 0, errors.New("status: no VmRSS")
}

// droppedUDP gives how many datagrams the kernel has dropped for want of room in a
// socket's buffer, on the whole machine; 0 where it does not say.
func droppedUDP() uint64 {
	b, err := os.ReadFile(filepath.Join(procRoot, "net", "snmp"))
	if err != nil {
		return 0
	}
	return parseSNMP(string(b))
}

// parseSNMP adds RcvbufErrors and SndbufErrors of the Udp lines of /proc/net/snmp: one
// with the names, one with the values.
func parseSNMP(text string) uint64 {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		var sum uint64
		for i, name := range names[:min(len(names), len(fields))] {
			if name == "RcvbufErrors" || name == "SndbufErrors" {
				n, _ := strconv.ParseUint(fields[i], 10, 64) // 0 is what a kernel without it says
				sum += n
			}
		}
		return sum
	}
	return 0
}
