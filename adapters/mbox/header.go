package mbox

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
)

// header holds the few fields that mail programs use to keep state in an mbox.
type header map[string]string

// kept names the fields of a header.
var kept = []string{"content-length", "status", "x-status", "x-mozilla-status", "x-keywords", "x-imap", "x-imapbase", "subject"}

type parsedHeader struct {
	header
	ended bool // by an empty line, not by the end of the file
}

// readHeader reads up to and including the empty line. Only the first line of a field counts.
func readHeader(lines *lineReader) (parsedHeader, error) {
	h := parsedHeader{header: header{}}
	for {
		line, err := lines.line()
		if err == io.EOF {
			return h, nil
		}
		if err != nil {
			return h, err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			h.ended = true
			return h, nil
		}
		name, value, ok := strings.Cut(string(line[:min(len(line), 4096)]), ":")
		if name = strings.ToLower(strings.TrimSpace(name)); ok && slices.Contains(kept, name) {
			if _, twice := h.header[name]; !twice {
				h.header[name] = strings.TrimSpace(value)
			}
		}
	}
}

// flags reads what Pine, mutt and others keep in Status and X-Status and Thunderbird in X-Mozilla-Status. skip says why a message is not one.
func (h header) flags() (flags []string, skip string) {
	set := map[string]bool{}
	for letter, flag := range map[string]string{"R": `\Seen`} {
		set[flag] = strings.Contains(h["status"], letter)
	}
	for letter, flag := range map[string]string{"A": `\Answered`, "F": `\Flagged`, "D": `\Deleted`, "T": `\Draft`} {
		set[flag] = strings.Contains(h["x-status"], letter)
	}
	if bits, err := strconv.ParseUint(h["x-mozilla-status"], 16, 32); err == nil {
		for bit, flag := range map[uint64]string{1: `\Seen`, 2: `\Answered`, 4: `\Flagged`, 0x1000: "$Forwarded"} {
			set[flag] = set[flag] || bits&bit != 0
		}
		if bits&8 != 0 {
			skip = "it was deleted in Thunderbird and the folder not compacted since"
		}
	}
	for flag, on := range set {
		if on {
			flags = append(flags, flag)
		}
	}
	for keyword := range strings.FieldsSeq(h["x-keywords"]) {
		flags = append(flags, keyword)
	}
	slices.Sort(flags)
	_, imap := h["x-imap"]
	if imap || strings.Contains(h["subject"], "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA") {
		skip = "it is the folder's internal data, not a message"
	}
	return flags, skip
}
