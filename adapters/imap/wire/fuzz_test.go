package wire

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// grammars are the entry points that FuzzDecoder tries on each input.
var grammars = map[string]func(d *Decoder){
	"strings": func(d *Decoder) {
		var s string
		for d.AString(&s) && d.SP() {
		}
		d.ExpectNString(&s)
	},
	"lists": func(d *Decoder) {
		var element func() bool
		element = func() bool {
			var s string
			return d.List(element) || d.String(&s) || d.ExpectFlag(&s)
		}
		element()
	},
	"numbers": func(d *Decoder) {
		var set NumSet
		var n uint32
		var wide int64
		_ = d.NumSet(&set) && d.SP() && d.Number(&n) && d.SP() && d.ExpectNumber64(&wide)
		set.Resolve(1000)
	},
	"append": func(d *Decoder) {
		var name string
		var flags []string
		var at time.Time
		if !d.ExpectMailbox(&name) || !d.ExpectSP() || d.FlagList(&flags) && !d.ExpectSP() || d.Next('"') && !(d.ExpectDateTime(&at) && d.ExpectSP()) {
			return
		}
		if l := d.ExpectLiteral(); l != nil && l.Size < 100 {
			_, _ = l.Accept()
		}
	},
	"patterns": func(d *Decoder) {
		var s string
		var at time.Time
		_ = d.ListMailbox(&s) && d.SP() && d.Label(&s) && d.ExpectSP() && d.ExpectDate(&at)
	},
}

// FuzzDecoder holds the Decoder to its promise: it ends, it stays within its limits, it reads the same thing however the octets arrive, and
// a command behind the fuzzed one is either read as it stands or not at all.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"a \"b\" {3+}\r\nabc NIL", "(\\Seen (a \"b\") ~{2+}\r\n\x00\x01)", "1:*,4,7:2 5 7", "INBOX (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {3+}\r\nabc",
		"&U,BTFw-/% SENTON 1-Feb-1994", "{99999999999+}\r\nx", "\"a{3+}\r\nabc", "$", "((((((", "{3}\r\nabc", "a\nb", "a\x00b",
	} {
		f.Add(s)
	}
	limits := Limits{Command: 4096, Kept: 1024, Literal: 512, Depth: 10, Items: 50, Ranges: 50, Drain: 8192}
	f.Fuzz(func(t *testing.T, input string) {
		for name, grammar := range grammars {
			run := func(d *Decoder) (ran []string, end error) {
				d.Begin()
				grammar(d)
				d.ExpectCRLF()
				if d.kept > limits.Kept+limits.Literal || cap(d.scratch) > 4*int(limits.Kept) {
					t.Errorf("%s: kept %d octets", name, d.kept)
				}
				if err := d.Finish(); err != nil {
					return nil, err
				}
				return commands(d)
			}
			text := input + "\r\nlast NOOP x\r\n"
			ran, end := run(NewDecoder(strings.NewReader(text), limits))
			slow, slowEnd := run(NewDecoder(iotest.OneByteReader(bytes.NewReader([]byte(text))), limits))
			if strings.Join(ran, "\n") != strings.Join(slow, "\n") || end.Error() != slowEnd.Error() {
				t.Errorf("%s: %q reads as %q, %v; octet by octet as %q, %v", name, input, ran, end, slow, slowEnd)
			}
		}
	})
}
