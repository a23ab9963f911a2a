package sieve

import (
	"fmt"
	"strings"
	"testing"
)

func compiled(t testing.TB, script string) *Script {
	t.Helper()
	s, err := Compile(script)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every limit has a script that crosses it; the message is kept, or the script is refused.
func TestLimits(t *testing.T) {
	nested := func(n int, open, shut string) string {
		return strings.Repeat(open, n) + "keep;" + strings.Repeat(shut, n)
	}
	for name, test := range map[string]struct{ script, want string }{
		"size":      {strings.Repeat("#", MaxScript+1), "at most 262144 octets"},
		"words":     {strings.Repeat("keep;", maxTokens/2+1), "at most 100000 words"},
		"blocks":    {nested(maxNesting+1, "if true {", "}"), "blocks nest at most"},
		"tests":     {"if " + strings.Repeat("not ", maxNesting+2) + "true { keep; }", "tests nest at most"},
		"a list":    {`if exists ["a"` + strings.Repeat(`,"a"`, maxList) + "] {}", "at most 1000 strings"},
		"a pattern": {`require "regex"; if header :regex "a" "` + strings.Repeat("a", maxPattern+1) + `" {}`, "at most 1000 octets"},
		"programs":  {`require "regex"; if header :regex "a" [` + strings.Repeat(`"`+strings.Repeat("a", 990)+`",`, 25) + `"a"] {}`, "more than 20000 instructions"},
		"classes":   {`require "regex"; if header :regex "a" [` + strings.Repeat(`"\\pL",`, 900) + `"a"] {}`, "more than 20000 instructions"},
		"no UTF-8":  {"# \xff", "valid UTF-8"},
		"NUL":       {"# \x00", "without NUL"},
	} {
		if _, err := Compile(test.script); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var actions, variables, inclusions strings.Builder
	for i := range maxActions + 1 {
		fmt.Fprintf(&actions, "fileinto \"m%d\";", i)
	}
	for i := range maxVariables + 1 {
		fmt.Fprintf(&variables, "set \"v%d\" \"\";", i)
	}
	for range maxIncluded + 1 {
		inclusions.WriteString(`include "flags";`)
	}
	long := `require ["variables", "regex"]; set "a" "` + strings.Repeat("a", 900) + `";`
	star := "*" + strings.Repeat("a", 500)
	for name, test := range map[string]struct{ script, want string }{
		"actions":    {`require "fileinto";` + actions.String(), "does at most 32 things"},
		"variables":  {`require "variables";` + variables.String(), "at most 256 variables"},
		"inclusions": {`require "include";` + inclusions.String(), "at most 50 times"},
		"edits":      {`require "editheader";` + strings.Repeat(`addheader "a" "b";`, maxEdits+1), "at most 100 times"},
		"patterns":   {long + strings.Repeat(`if string :regex "a" "b${a}" { discard; }`, 200), "more than 200000 steps"},
		"steps":      {`require "variables"; set "a" "` + strings.Repeat("a", 4000) + `";` + strings.Repeat(`if string :matches "${a}" "`+star+`b" { discard; }`, 200), "more than 200000 steps"},
	} {
		out := compiled(t, test.script).Run(world(t, plain))
		if out.Err == nil || !strings.Contains(out.Err.Error(), test.want) {
			t.Errorf("%s: %v", name, out.Err)
		}
		if got := show(t, Outcome{Actions: out.Actions}); got != "fileinto INBOX\n" {
			t.Errorf("%s: the message is not kept but %s", name, got)
		}
	}
}

// What a script copies and looks up is paid for, also before the end of the script.
func TestWorkIsPaidFor(t *testing.T) {
	long := `require ["variables", "fileinto", "reject", "body", "mailbox", "envelope", "imap4flags"]; set "a" "` + strings.Repeat("a", 4000) + `"; set "i" "INBOX"; `
	many := strings.Repeat("${a}", 60)
	fields := strings.Repeat("X: y\n", 20_000)
	parts := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 500) + "--b--\n"
	for name, test := range map[string]struct {
		script, message string
		steps           int
	}{
		"the last action":    {long + strings.Repeat(`if true { reject "`+many+`"; }`, 1), plain, 60 * 4000 / 64},
		"a list":             {long + `if string "a" ["` + many + `"] {}`, plain, 60 * 4000 / 64},
		"copied fields":      {`require "relational"; if header :value "gt" :comparator "i;octet" "x" "z" {}`, "X: " + strings.Repeat("y", 60_000) + "\n\n", 2 * 60_000 / 64},
		"names of exists":    {`if exists ["x"` + strings.Repeat(`,"x"`, 99) + `] {}`, fields + "\n", 100 * 20_000 / 64},
		"lookups":            {long + `if mailboxexists ["INBOX"` + strings.Repeat(`,"INBOX"`, 99) + `] {}`, plain, 400},
		"types of the parts": {long + `if body :content ["a/b"` + strings.Repeat(`,"a/b"`, 799) + `] "x" {}`, parts, 500 * 800 / 16},
		"flags":              {`require "imap4flags"; addflag "` + strings.Repeat("a b ", 8000) + `";`, plain, 2000},
		"flags of variables": {long + `if hasflag ["a"` + strings.Repeat(`,"a"`, 99) + `] "b" {}`, plain, 100 * 4000 / 16},
		"keys of each part":  {long + `if body :contains "` + strings.Repeat("y", 6400) + `" {}`, "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 50) + "--b--\n", 50 * 100},
		"octets read":        {long + `if body :contains "y" {}`, "Content-Type: text/html\n\n" + strings.Repeat("<p>", 1<<20), 3 << 10},
	} {
		if out := compiled(t, test.script).Run(world(t, test.message)); out.Err != nil || out.Steps < test.steps {
			t.Errorf("%s: %d steps, want %d at least, %v", name, out.Steps, test.steps, out.Err)
		}
	}
	out := compiled(t, long+strings.Repeat(`set "b" "`+many+`";`, 51)+`fileinto "`+many+`";`).Run(world(t, plain))
	if out.Err == nil || show(t, Outcome{Actions: out.Actions}) != "fileinto INBOX\n" {
		t.Errorf("an action that is not paid for: %v, %d actions", out.Err, len(out.Actions))
	}
}

// Of a field, as much is looked at as the scanner of messages looks at; its lines are one text.
func TestLongField(t *testing.T) {
	script := compiled(t, `if header :contains "x" "needle" { discard; }`)
	for _, n := range []int{maxField - 10, maxField} {
		out := script.Run(world(t, "X: "+strings.Repeat("y\n ", n/2)+"needle\n\n"))
		if found := len(out.Actions) == 0; found != (n < maxField) || out.Err != nil {
			t.Errorf("behind %d octets: %v %v", n, found, out.Err)
		}
	}
}

// A run whose time is over keeps the message, also when it is over with the last question.
func TestDeadline(t *testing.T) {
	done := make(chan struct{})
	ctx := world(t, plain)
	ctx.Done, ctx.MailboxExists = done, func(string) bool { return false }
	long, asks := compiled(t, strings.Repeat("discard;", 2*stepsBetweenLooks)), compiled(t, `require "mailbox"; if not mailboxexists "A" { discard; }`)
	for _, script := range []*Script{long, asks} {
		if out := script.Run(ctx); out.Err != nil || len(out.Actions) > 0 {
			t.Fatal(out.Err)
		}
	}
	ctx.MailboxExists = func(string) bool { close(done); return false }
	for _, script := range []*Script{asks, long} {
		if out := script.Run(ctx); out.Err == nil || show(t, Outcome{Actions: out.Actions}) != "fileinto INBOX\n" || out.Steps > stepsBetweenLooks {
			t.Errorf("%v after %d steps, %d actions", out.Err, out.Steps, len(out.Actions))
		}
	}
}

// A regular expression with variables is compiled, and paid for, once in a test.
func TestPatternIsComputedOnce(t *testing.T) {
	script := `require ["variables", "regex"]; set "a" "` + strings.Repeat("a", 900) + `"; if string :regex ["a"` + strings.Repeat(`,"a"`, 500) + `] "b${a}" { discard; }`
	if out := compiled(t, script).Run(world(t, plain)); out.Err != nil || out.Steps > 20_000 {
		t.Errorf("%d steps, %v", out.Steps, out.Err)
	}
}

// What a script takes of memory is more than its source.
func TestSize(t *testing.T) {
	few, many := compiled(t, "keep;").Size, compiled(t, `require "regex"; if header :regex "a" "a{900}" { discard; }`).Size
	if few < 400 || many < few+64*900 {
		t.Errorf("the sizes are %d and %d", few, many)
	}
}

// The body is read only by scripts that look at it, and the header once.
func TestMessageIsReadLazily(t *testing.T) {
	for script, want := range map[string]int{
		`require "fileinto"; if size :over 1K { fileinto "A"; }`:                                             0,
		`if header "subject" "x" { discard; } if header "from" "x" { discard; } if exists "to" { discard; }`: 1,
		`require "body"; if body :contains "anvil" { discard; }`:                                             1,
	} {
		m, reads := mail(t, plain)
		ctx := world(t, plain)
		ctx.Message = m
		if out := compiled(t, script).Run(ctx); out.Err != nil || *reads != want {
			t.Errorf("%d reads and %v: %s", *reads, out.Err, script)
		}
	}
}

// A key is found wherever in a long body it lies, also across two pieces and in other letters.
func TestBodyIsSearchedInPieces(t *testing.T) {
	script := compiled(t, `require ["body", "comparator-i;unicode-casemap"]; if body :raw :comparator "i;unicode-casemap" :contains "NÄDEL" { discard; }`)
	for _, at := range []int{0, bodyPiece - 3, bodyPiece, 2*bodyPiece - 1, 5 * bodyPiece} {
		for _, needle := range []string{"nädel", "nadel"} {
			body := strings.Repeat("é", at/2) + needle + strings.Repeat("x", 2*bodyPiece)
			out := script.Run(world(t, "Subject: x\n\n"+body))
			if found := len(out.Actions) == 0; found != (needle == "nädel") || out.Err != nil {
				t.Errorf("%q at %d: %v %v", needle, at, found, out.Err)
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	s := compiled(t, "require [\"fileinto\", \"body\"];\nstop;\nfileinto \"A\";")
	if got := fmt.Sprint(s.Warnings); got != `[line 1, column 9: "body" is required and not used line 3, column 1: this is never reached]` {
		t.Error(got)
	}
}

// What is advertised can be required, and nothing else.
func TestCapabilities(t *testing.T) {
	for _, name := range Capabilities() {
		compiled(t, fmt.Sprintf("require %q;", name))
	}
	for _, name := range []string{"extlists", "mime", "redirect-dsn"} {
		if _, err := Compile(fmt.Sprintf("require %q;", name)); err == nil {
			t.Errorf("%s can be required", name)
		}
	}
}

// Whatever is read, compiled and run ends, without a panic, and either the message is kept or the script says what is done.
func FuzzScript(f *testing.F) {
	f.Add(`require ["fileinto","variables","regex","body"]; if header :matches "subject" "*present*" { fileinto "${1}"; }`, plain)
	f.Add(`require ["editheader","date","index"]; addheader "X" "y"; deleteheader :index 1 "to"; if date "date" "julian" "1" { stop; }`, plain)
	f.Add(`require ["imap4flags","relational","include"]; addflag "a b"; if hasflag :count "ge" "1" { include "spam"; }`, "Subject: x\n\n")
	f.Add("text:\n.\n", "")
	f.Add(`require ["vacation","duplicate","enotify","variables","copy","fcc"]; set :encodeurl "a" "b&%"; vacation :days 3 :mime :fcc "S" "Content-Type: text/plain\n\nx"; notify "mailto:a@b?body=${a}"; if duplicate :header "x" :last { redirect :copy "a@b"; }`, "To: roadrunner@acme.example.com\nX: y\n\n")
	f.Fuzz(func(t *testing.T, script, text string) {
		s, err := Compile(script)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("the error is a %T", err)
			}
			return
		}
		out := s.Run(world(t, text))
		if out.Err != nil && (len(out.Actions) != 1 || out.Actions[0].Mailbox != Inbox) {
			t.Fatalf("%v, and the message is not kept", out.Err)
		}
		if out.Steps > maxSteps || len(out.Actions) > maxActions+1 {
			t.Fatalf("%d steps and %d actions", out.Steps, len(out.Actions))
		}
	})
}

// TestRegexesOfSeveralScripts are bounded together: one script may be full of them, and not all that are included.
func TestRegexesOfSeveralScripts(t *testing.T) {
	full := `require "regex";`
	for n := range 5 {
		full += fmt.Sprintf(`if header :comparator "i;octet" :regex "subject" "%d.{900}.{900}.{900}.{900}" { discard; }`, n)
	}
	script := compiled(t, full)
	if script.programs < maxPrograms*3/4 {
		t.Fatalf("the script has %d instructions only", script.programs)
	}
	for names, want := range map[string]string{"aa": "", "ab": "", "aab": "", "abc": "regular expressions of all scripts"} {
		text := `require "include";`
		for _, name := range names {
			text += fmt.Sprintf(`include "%c";`, name)
		}
		ctx := world(t, plain)
		ctx.Include = func(string) (*Script, error) { return script, nil }
		if out := compiled(t, text).Run(ctx); (out.Err != nil) != (want != "") || want != "" && !strings.Contains(out.Err.Error(), want) {
			t.Errorf("%s: %v", names, out.Err)
		}
	}
}

// TestAddressesOfAMessage are paid for, and the world is asked once about each, however many of them there are and however many the script has.
func TestAddressesOfAMessage(t *testing.T) {
	known := strings.Repeat(`"roady@acme.example.com",`, 900)
	script := compiled(t, `require "vacation"; vacation :addresses [`+strings.TrimSuffix(known, ",")+`] "away";`)
	ctx := world(t, "From: coyote@desert.example.org\n"+strings.Repeat("To: a@b.example, "+strings.Repeat("c@d.example, ", 4000)+"e@f.example\n", 7)+"\nx\n")
	asked := map[string]int{}
	ctx.Own = func(address string) bool { asked[address]++; return false }
	out := script.Run(ctx)
	if out.Err != nil || out.Steps < maxAddresses || len(asked) > 4 || asked["c@d.example"] != 1 {
		t.Errorf("%d steps, asked about %v, %v", out.Steps, asked, out.Err)
	}
	// The bound is that of all fields together.
	ctx = world(t, "From: coyote@desert.example.org\n"+strings.Repeat("To: "+strings.TrimSuffix(strings.Repeat("a@b.example, ", maxAddresses/2), ", ")+"\n", 2)+"Cc: roadrunner@acme.example.com\n\nx\n")
	if out := script.Run(ctx); fmt.Sprint(out.Notes) != "[vacation answers nobody: no address of the user is in To or Cc]" {
		t.Error(out.Notes, out.Err)
	}
	loop := compiled(t, `require "copy";`+strings.Repeat(`redirect :copy "x@y.example";`, 20))
	ctx = world(t, strings.Repeat(RedirectedBy+": a@b.example\n", 1000)+"\nx\n")
	clear(asked)
	ctx.Own = func(address string) bool { asked[address]++; return false }
	if out := loop.Run(ctx); out.Err != nil || len(out.Actions) != 1 || len(asked) > 1 {
		t.Errorf("%d actions, asked about %v, %v", len(out.Actions), asked, out.Err)
	}
}
