package sieve

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
)

// mail makes a Message of text whose lines end as they end in a file.
func mail(t testing.TB, text string) (Message, *int) {
	t.Helper()
	raw := strings.ReplaceAll(text, "\n", "\r\n")
	scan := message.NewScanner()
	if _, err := io.WriteString(scan, raw); err != nil {
		t.Fatal(err)
	}
	root := scan.Finish().Root
	reads := new(int)
	return Message{Root: &root, Size: int64(len(raw)), Open: func(off, n int64) (io.ReadCloser, error) {
		*reads++
		return io.NopCloser(bytes.NewReader([]byte(raw)[off:min(off+n, int64(len(raw)))])), nil
	}}, reads
}

// plain is the message of the cases that say nothing of theirs.
const plain = `From: Coyote <coyote@desert.example.org>
To: Roadrunner <roadrunner@acme.example.com>, "B" <b+lists@example.net>
Subject: I have a present for you
Date: Sat, 4 Jul 2026 09:00:01 +0200
X-Spam-Score: 7
List-Id: The Desert List <desert.example.org>

Look, I'm sorry about the whole anvil thing.
`

// now is Monday, 6 July 2026.
var now = time.Date(2026, 7, 6, 13, 37, 42, 0, time.FixedZone("", 2*3600))

func address(t testing.TB, s string) delivery.Address {
	t.Helper()
	if s == "<>" {
		return delivery.Address{}
	}
	a, err := delivery.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// scripts are what the cases can include.
var scripts = map[string]string{
	"spam":   `require "fileinto"; if header :contains "subject" "present" { fileinto "Junk"; stop; }`,
	"early":  `require "include"; return; discard;`,
	"loop":   `require "include"; include "loop";`,
	"global": `require ["include", "variables"]; global "where"; set "where" "Deserts"; set "local" "lost";`,
	"flags":  `require "imap4flags"; addflag "\\Flagged";`,
	"wrong":  `fileinto "X";`,
}

// world is the Context of the cases.
func world(t testing.TB, text string) *Context {
	t.Helper()
	m, _ := mail(t, text)
	return &Context{
		Message: m, From: address(t, "coyote@desert.example.org"), To: address(t, "roadrunner+Lists@acme.example.com"), Now: now,
		MailboxExists: func(name string) bool { return name == "INBOX" || name == "Lists" || name == "Junk" },
		ByID:          func(id string) bool { return id == "F1" },
		SpecialUse: func(mailbox, use string) bool {
			return strings.EqualFold(use, `\Junk`) && (mailbox == "" || mailbox == "Junk")
		},
		Include: func(name string) (*Script, error) {
			text, ok := scripts[name]
			if !ok {
				return nil, nil
			}
			return Compile(text)
		},
		Own: func(a string) bool { return a == "roadrunner@acme.example.com" || a == "beep@acme.example.com" },
		Environment: func(item string) (string, bool) {
			value, ok := map[string]string{"location": "MDA", "phase": "during", "domain": "example.com"}[item]
			return value, ok
		},
	}
}

// show spells what a script came to, one line for each action.
func show(t testing.TB, out Outcome) string {
	var b strings.Builder
	if out.Err != nil {
		fmt.Fprintf(&b, "error: %v\n", out.Err)
	}
	if len(out.Actions) == 0 {
		b.WriteString("discard\n")
	}
	for _, a := range out.Actions {
		if a.Kind == Reject {
			fmt.Fprintf(&b, "reject %s\n", strings.ReplaceAll(strings.TrimSpace(a.Reason), "\r\n", "\n"))
			continue
		}
		switch a.Kind {
		case Redirect:
			fmt.Fprintf(&b, "redirect %s\n", a.Address)
			continue
		case Vacation, Notify:
			fmt.Fprintf(&b, "%s\n", a.Kind)
			text := a.Letter.Message(address(t, "roadrunner@acme.example.com"), "<1@here>", now)
			for line := range strings.Lines(strings.TrimRight(text, "\r\n")) {
				fmt.Fprintf(&b, "%s\n", strings.TrimRight("| "+line, "\r\n "))
			}
			if c := a.Letter.Copy; c != nil {
				fmt.Fprintf(&b, "copy in %s flags=%s\n", c.Mailbox, strings.Join(c.Flags, " "))
			}
			continue
		}
		fmt.Fprintf(&b, "fileinto %s", a.Mailbox)
		if a.MailboxID != "" {
			fmt.Fprintf(&b, " mailboxid=%s", a.MailboxID)
		}
		if a.SpecialUse != "" {
			fmt.Fprintf(&b, " specialuse=%s", a.SpecialUse)
		}
		if a.Create {
			b.WriteString(" create")
		}
		if len(a.Flags) > 0 {
			fmt.Fprintf(&b, " flags=%s", strings.Join(a.Flags, " "))
		}
		b.WriteString("\n")
		if a.Header != nil {
			for line := range strings.Lines(strings.TrimRight(*a.Header, "\r\n")) {
				fmt.Fprintf(&b, "| %s\n", strings.TrimRight(line, "\r\n"))
			}
		}
	}
	for _, r := range out.Remember {
		fmt.Fprintf(&b, "remember %s for %d\n", r.Kind, r.Seconds)
	}
	for _, n := range out.Notes {
		fmt.Fprintf(&b, "note %s\n", n)
	}
	return b.String()
}

// Each file of testdata holds cases: "=== name", "--- script", perhaps "--- message" and "--- envelope" (sender and recipient), and "--- want", which
// holds the actions, or "compile: " with what the error must contain.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split("\n"+string(text), "\n=== ") {
			if i == 0 {
				continue
			}
			name, rest, _ := strings.Cut(block, "\n")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+name, func(t *testing.T) { runCase(t, rest) })
		}
	}
}

func runCase(t *testing.T, text string) {
	parts := map[string]string{"message": plain}
	for _, section := range strings.Split("\n"+text, "\n--- ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		parts[name] = strings.TrimLeft(body, "\n") + "\n"
	}
	want := strings.TrimSpace(parts["want"])
	if want == "" {
		t.Fatal("the case wants nothing")
	}
	script, err := Compile(parts["script"])
	if wrong, ok := strings.CutPrefix(want, "compile: "); ok {
		if err == nil || !strings.Contains(err.Error(), wrong) {
			t.Fatalf("the error is %v, want %q", err, wrong)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx := world(t, strings.TrimSuffix(parts["message"], "\n"))
	if parts["again"] != "" { // The same has come before.
		before := map[string]bool{}
		for _, r := range script.Run(ctx).Remember {
			before[r.Kind+r.Name] = true
		}
		ctx.Seen = func(kind, name string) bool { return before[kind+name] }
	}
	if e := strings.Fields(parts["envelope"]); len(e) == 2 {
		ctx.From, ctx.To = address(t, e[0]), address(t, e[1])
	}
	if got := strings.TrimSpace(show(t, script.Run(ctx))); got != want {
		t.Errorf("the script came to:\n%s\nwant:\n%s", got, want)
	}
}
