package sieve

import (
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/delivery"
)

const asked = "From: coyote@desert.example.org\nTo: roadrunner@acme.example.com\nSubject: %s\n\nx\n"

// TestOneAnswerForASender: neither what a sender writes nor the detail of their address makes another answer, and another text does.
func TestOneAnswerForASender(t *testing.T) {
	const script = `require ["vacation", "variables"]; if header :matches "subject" "*" { set "s" "${1}"; } vacation :subject "Re: ${s}" "Away: ${s}%s";`
	before := map[string]bool{}
	answers := func(script, subject, from string) bool {
		ctx := world(t, fmt.Sprintf(asked, subject))
		ctx.From = address(t, from)
		ctx.Seen = func(kind, name string) bool { return before[kind+name] }
		out := compiled(t, script).Run(ctx)
		for _, r := range out.Remember {
			before[r.Kind+r.Name] = true
		}
		return len(out.Remember) > 0
	}
	first, second := fmt.Sprintf(script, ""), fmt.Sprintf(script, "!")
	for _, try := range []struct {
		script, subject, from string
		want                  bool
	}{
		{first, "1", "coyote@desert.example.org", true},
		{first, "2", "coyote@desert.example.org", false},
		{first, "3", "Coyote+3@desert.example.org", false},
		{first, "4", "wolf@desert.example.org", true},
		{second, "5", "coyote@desert.example.org", true},
	} {
		if got := answers(try.script, try.subject, try.from); got != try.want {
			t.Errorf("%+v: %v", try, got)
		}
	}
}

// TestWhenNoMailLeaves: a message that makes no mail leave is kept, and what else a script does stands.
func TestWhenNoMailLeaves(t *testing.T) {
	script := compiled(t, `require ["vacation", "enotify", "fileinto", "imap4flags"]; vacation "away"; notify "mailto:a@b.example"; redirect "a@b.example"; if header "subject" "file" { fileinto "Lists"; }`)
	for subject, want := range map[string]string{"x": "fileinto INBOX\n", "file": "fileinto Lists\n"} {
		ctx := world(t, fmt.Sprintf(asked, subject))
		if out := script.Run(ctx); out.Err != nil || len(out.Actions) < 3 {
			t.Errorf("%v %v", out.Actions, out.Err)
		}
		ctx.Quiet = "it may be forged"
		want += "note vacation answers nobody: it may be forged\nnote notify tells nobody: it may be forged\nnote redirect sends nothing: it may be forged\n"
		if got := show(t, script.Run(ctx)); got != want {
			t.Errorf("%s: %s", subject, got)
		}
	}
	ctx := world(t, fmt.Sprintf(asked, "x"))
	ctx.Answered = func() bool { return true }
	if got := show(t, compiled(t, `require "vacation"; vacation "away";`).Run(ctx)); got != "fileinto INBOX\nnote vacation answers nobody: the account has given as many answers as it may for now\n" {
		t.Error(got)
	}
}

// TestNotificationsDoNotLoop: a notification that comes back is known for one, whatever the owner's address is like.
func TestNotificationsDoNotLoop(t *testing.T) {
	script := compiled(t, `require "enotify"; notify "mailto:a@b.example";`)
	for to, auto := range map[string]string{
		`jörg@acme.example.com`:     "auto-notified",
		`"a b\"c"@acme.example.com`: `auto-notified; owner-email="\"a b\\\"c\"@acme.example.com"`,
	} {
		ctx := world(t, fmt.Sprintf(asked, "x"))
		ctx.To = address(t, to)
		out := script.Run(ctx)
		if out.Err != nil || len(out.Actions) != 2 {
			t.Fatal(out)
		}
		text := out.Actions[0].Letter.Message(ctx.To, "<1@h>", now)
		if !strings.Contains(text, "\r\nAuto-Submitted: "+auto+"\r\n") {
			t.Errorf("%q", text)
		}
		ctx = world(t, strings.ReplaceAll(text, "\r\n", "\n"))
		if out := script.Run(ctx); len(out.Actions) != 1 || len(out.Notes) != 1 {
			t.Errorf("%+v", out)
		}
	}
}

// TestWhoIsNotAnswered: programs.
func TestWhoIsNotAnswered(t *testing.T) {
	script := compiled(t, `require ["vacation", "fileinto"]; vacation "away"; fileinto "Lists";`)
	for local, answered := range map[string]bool{
		"coyote": true, "bouncer": true, "robounce": true, "bounces": false, "list-bounces": false, "bounce-123=a.example": false, "bounces+7": false, "No-Reply-5": false, "a..b": true,
	} {
		ctx := world(t, fmt.Sprintf(asked, "x"))
		ctx.From = delivery.Address{Local: local, Domain: "desert.example.org"}
		out := script.Run(ctx)
		if got := len(out.Actions) == 2; out.Err != nil || got != answered {
			t.Errorf("%s: %v %v", local, out.Actions, out.Err)
		}
	}
}

// TestLettersHaveLines that every server takes, whatever the script and the message want.
func TestLettersHaveLines(t *testing.T) {
	ctx := world(t, "To: roadrunner@acme.example.com\nMessage-ID: <a\x01b@c>\nReferences: <x@y> <z\x02@y> "+strings.Repeat("w", 3000)+"\n\nx\n")
	out := compiled(t, `require "vacation"; vacation :subject "`+strings.Repeat("a", 3000)+`" "hi";`).Run(ctx)
	if out.Err != nil || len(out.Actions) != 2 {
		t.Fatal(out.Err, out.Actions)
	}
	text := out.Actions[0].Letter.Message(ctx.To, "<1@h>", now)
	if longLines(text) || strings.ContainsAny(text, "\x01\x02") || !strings.Contains(text, "a\r\n a") || strings.Contains(text, "References") {
		t.Errorf("%q", text)
	}
	ctx = world(t, "To: roadrunner@acme.example.com\nMessage-ID: <a@c>\nReferences: <x@y> <z\x02@y> "+strings.Repeat("w", 3000)+"\n\nx\n")
	if l := compiled(t, `require "vacation"; vacation "hi";`).Run(ctx).Actions[0].Letter; l.References != "<x@y> <a@c>" {
		t.Errorf("%q", l.References)
	}
	if _, err := Compile("require \"vacation\"; vacation :mime \" evil: x\nContent-Type: text/plain\n\nhi\";"); err == nil {
		t.Error("an entity begins with a continuation")
	}
}
