package imap

import (
	"testing"
	"time"

	"github.com/streampost/streampost/projections/door/doortest"
)

func TestSearchTellsOfItsProgress(t *testing.T) { // RFC 9585 section 4.
	s := start(t, func(c *Config) { c.Limits.Progress = time.Nanosecond })
	s.fill(2*portionOfSummaries + 1)
	c := s.selected("INBOX")
	a := c.cmd("UID SEARCH BODY text")
	var told []string
	for _, line := range a.ok().untagged {
		if matches("* OK [INPROGRESS ...", line) {
			told = append(told, line)
		}
	}
	want := []string{`* OK [INPROGRESS ("` + a.command + `" 0 129)] still at it`, `* OK [INPROGRESS ("` + a.command + `" 64 129)] still at it`, `* OK [INPROGRESS ("` + a.command + `" 128 129)] still at it`}
	if len(told) != len(want) || told[0] != want[0] || told[1] != want[1] || told[2] != want[2] {
		t.Errorf("told %q", told)
	}
}

func TestProgressOfAnOddTag(t *testing.T) { // RFC 9585 section 4.
	s := start(t, func(c *Config) { c.Limits.Progress = time.Nanosecond })
	s.fill(1)
	c := s.selected("INBOX")
	c.send("a]b SEARCH BODY text\r\n")
	c.finish("a]b").want("* OK [INPROGRESS (NIL 0 1)] still at it", "* SEARCH 1", "OK ...")
}

// A change whose log does not answer is not a dead connection.
func TestAChangeThatLastsTellsOfIt(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Progress = time.Millisecond })
	s.fill(1)
	c := s.selected("INBOX")
	heard := make(chan struct{})
	s.failing(func() doortest.Fault { <-heard; return doortest.None }, func() {
		tag := c.begin(`STORE 1 +FLAGS (\Seen)`)
		c.expect(`* OK [INPROGRESS ("`+tag+`" NIL NIL)] still at it`, `* OK [INPROGRESS ("`+tag+`" NIL NIL)] still at it`)
		close(heard)
		c.finish(tag).ok().has(`* 1 FETCH (UID 1 FLAGS (\Seen...))`)
	})
}

func TestProgressSwitchedOff(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Progress = time.Nanosecond; c.Without = []string{"INPROGRESS"} })
	s.fill(1)
	s.selected("INBOX").cmd("SEARCH BODY text").want("* SEARCH 1", "OK ...")
}
