package tika_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/tika/tikatest"
	"github.com/streampost/streampost/domain"
)

// A Tika server that is none of ours, at STREAMPOST_TIKA_URL, reads real files, whatever their header calls them, and says which it cannot read.
func TestRealServer(t *testing.T) {
	url := os.Getenv("STREAMPOST_TIKA_URL")
	if url == "" {
		t.Skip("STREAMPOST_TIKA_URL names no Tika server")
	}
	c := client(t, url, time.Minute)
	docx, err := tikatest.DOCX("quarterly Übersicht 東京都")
	if err != nil {
		t.Fatal(err)
	}
	const word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	for _, test := range []struct{ mediaType, name, content, want string }{
		{"application/pdf", "plan.pdf", tikatest.PDF("quarterly figures"), "quarterly figures"},
		{"application/octet-stream", "plan.pdf", tikatest.PDF("quarterly figures"), "quarterly figures"},
		{"application/octet-stream", "", tikatest.PDF("quarterly figures"), "quarterly figures"},
		{word, "Übersicht.docx", docx, "quarterly Übersicht 東京都"},
		{"application/octet-stream", "Übersicht.docx", docx, "quarterly Übersicht 東京都"},
		{"application/rtf", "a.rtf", `{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}\f0 quarterly figures\par}`, "quarterly figures"},
	} {
		text, more, err := extract(t, c, test.mediaType, test.name, test.content, 1<<20)
		if err != nil || more || !strings.Contains(text, test.want) {
			t.Errorf("%s %s: %q, %v, %v", test.mediaType, test.name, text, more, err)
		}
	}
	for name, content := range map[string]string{"empty.pdf": "", "garbage.pdf": "%PDF-1.4\ngarbage", "cut.docx": docx[:len(docx)/2]} {
		mediaType := word
		if strings.HasSuffix(name, ".pdf") {
			mediaType = "application/pdf"
		}
		if text, _, err := extract(t, c, mediaType, name, content, 1<<20); err != nil && !domain.Is(err, domain.Invalid) {
			t.Errorf("%s: %q, %v", name, text, err)
		} else {
			t.Logf("%s: %q, %v", name, text, err)
		}
	}
}
