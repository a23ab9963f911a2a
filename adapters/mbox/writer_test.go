package mbox_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/mbox"
)

// TestWhatIsWrittenIsRead writes messages and reads them back: none splits, and none loses an octet but for the end of its last line.
func TestWhatIsWrittenIsRead(t *testing.T) {
	letters := []string{
		"Subject: plain\r\n\r\nhello\r\n",
		"Subject: traps\r\n\r\nFrom here on\r\n>From there\r\n\r\nFrom a@b Thu Feb  3 04:05:06 2022\r\n\r\n\r\n",
		"Subject: no end\r\n\r\nthe last line",
		"Subject: long\r\n\r\n" + strings.Repeat("x", 200_000) + "From the middle\r\n",
	}
	var file bytes.Buffer
	w := mbox.NewWriter(&file)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, letter := range letters {
		if err := w.Add([]string{"bob@example.org", "", "two words", "x\r\nFrom y"}[i], at, strings.NewReader(letter)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, messages := read(t, file.String())
	if len(got) != len(letters) {
		t.Fatalf("%d messages came back", len(got))
	}
	for i, letter := range letters {
		if !strings.HasSuffix(letter, "\r\n") {
			letter += "\r\n"
		}
		if letter = strings.ReplaceAll(letter, "\r\n", "\n"); got[i] != letter || !messages[i].Date.Equal(at) {
			t.Errorf("message %d of %v came back as %.200q, want %.200q", i, messages[i].Date, got[i], letter)
		}
	}
}
