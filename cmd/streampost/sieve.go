package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/sieve"
)

// SieveCmd manages the scripts by which users filter their mail.
type SieveCmd struct {
	List     SieveListCmd     `cmd:"" help:"List the scripts of a user."`
	Show     SieveShowCmd     `cmd:"" help:"Print a script."`
	Put      SievePutCmd      `cmd:"" help:"Check a script and store it."`
	Activate SieveActivateCmd `cmd:"" help:"Say which script runs when mail arrives."`
	Rm       SieveRmCmd       `cmd:"" help:"Delete a script."`
	Vacation SieveVacationCmd `cmd:"" help:"Show or set how mail is answered while a user is away, without a script."`
	Check    SieveCheckCmd    `cmd:"" help:"Say whether a script in a file compiles, without a server."`
	Test     SieveTestCmd     `cmd:"" help:"Run a script in a file on a message in a file, and say what it would do, without a server."`
}

func scriptPath(a named, script string) string {
	return path("accounts", string(a), "sieve", script)
}

// SieveListCmd lists scripts.
type SieveListCmd struct {
	AccountArg
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SieveListCmd) Help() string {
	return `Examples:

  streampost sieve list alice@example.org`
}

// Run prints the list.
func (c *SieveListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var list []webadmin.SieveScript
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account), "sieve"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, s := range list {
		active := ""
		if s.Active {
			active = "active"
		}
		rows = append(rows, []string{s.Name, strconv.Itoa(s.Octets), active})
	}
	return env.table("NAME OCTETS ACTIVE", rows)
}

// SieveShowCmd prints a script.
type SieveShowCmd struct {
	AccountArg
	Name named `arg:"" help:"Name of the script."`
	JSON bool  `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SieveShowCmd) Help() string {
	return `Examples:

  streampost sieve show alice@example.org main > main.sieve`
}

// Run prints it.
func (c *SieveShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var s webadmin.SieveScript
	if err := server.call(env, http.MethodGet, scriptPath(c.Account, string(c.Name)), nil, &s); err != nil {
		return err
	}
	if c.JSON {
		return env.json(s)
	}
	env.printf("%s", s.Content)
	return nil
}

// SievePutCmd stores a script.
type SievePutCmd struct {
	AccountArg
	Name     named  `arg:"" help:"Name of the script."`
	File     string `arg:"" help:"File with the script; - is standard input."`
	Activate bool   `help:"Have it run when mail arrives, in place of any other."`
	JSON     bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SievePutCmd) Help() string {
	return `A script that does not compile is not stored. Users do the same by ManageSieve.

Examples:

  streampost sieve put alice@example.org main main.sieve --activate`
}

// Run sends it.
func (c *SievePutCmd) Run(g *Globals, env *Env) error {
	text, err := readText(env, c.File, account.MaxScriptOctets)
	if err != nil {
		return err
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	var checked webadmin.SieveChecked
	if err := server.call(env, http.MethodPut, scriptPath(c.Account, string(c.Name)), webadmin.NewSieveScript{Content: text, Activate: c.Activate}, &checked); err != nil {
		return err
	}
	if c.JSON {
		return env.json(checked)
	}
	for _, w := range checked.Warnings {
		env.tell("%s:%s\n", c.File, w)
	}
	return nil
}

// readText reads a file of bounded size.
func readText(env *Env, file string, most int64) (string, error) {
	var in io.Reader = env.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", usage("%w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return "", usage("%w", err)
	}
	if int64(len(text)) > most {
		return "", usage("%s has more than %d octets", file, most)
	}
	return string(text), nil
}

// SieveActivateCmd chooses the script that runs.
type SieveActivateCmd struct {
	AccountArg
	Name string `arg:"" optional:"" help:"Name of the script."`
	None bool   `help:"Have no script run."`
}

// Help teaches.
func (*SieveActivateCmd) Help() string {
	return `Examples:

  streampost sieve activate alice@example.org main
  streampost sieve activate alice@example.org --none`
}

// Run sends the request.
func (c *SieveActivateCmd) Run(g *Globals, env *Env) error {
	if (c.Name == "") != c.None {
		return usage("name a script, or say --none")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodPut, path("accounts", string(c.Account), "active-sieve"), webadmin.ActiveSieve{Name: c.Name}, nil)
}

// SieveRmCmd deletes a script.
type SieveRmCmd struct {
	AccountArg
	Name named `arg:"" help:"Name of the script, which must not be active."`
}

// Help teaches.
func (*SieveRmCmd) Help() string {
	return `Examples:

  streampost sieve rm alice@example.org main`
}

// Run sends the request.
func (c *SieveRmCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodDelete, scriptPath(c.Account, string(c.Name)), nil, nil)
}

// SieveCheckCmd compiles a script.
type SieveCheckCmd struct {
	File string `arg:"" help:"File with the script; - is standard input."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SieveCheckCmd) Help() string {
	return `An error is printed as FILE:LINE:COLUMN: what is wrong, and so are warnings, which are no errors.

Examples:

  streampost sieve check main.sieve`
}

// verdict is what check says.
type verdict struct {
	Valid    bool     `json:"valid"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Error    string   `json:"error,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Run compiles it.
func (c *SieveCheckCmd) Run(_ *Globals, env *Env) error {
	text, err := readText(env, c.File, account.MaxScriptOctets)
	if err != nil {
		return err
	}
	script, wrong := compileFile(c.File, text)
	v := verdict{Valid: wrong == nil}
	if wrong != nil {
		v.Line, v.Column, v.Error = wrong.Line, wrong.Column, wrong.Msg
	} else {
		for _, w := range script.Warnings {
			v.Warnings = append(v.Warnings, w.String())
			if !c.JSON {
				env.tell("%s:%d:%d: warning: %s\n", c.File, w.Line, w.Column, w.Msg)
			}
		}
	}
	if c.JSON {
		if err := env.json(v); err != nil {
			return err
		}
	}
	if wrong != nil {
		return domain.Errorf(domain.Invalid, "%s:%d:%d: %s", c.File, wrong.Line, wrong.Column, wrong.Msg)
	}
	return nil
}

func compileFile(file, text string) (*sieve.Script, *sieve.Error) {
	script, err := sieve.Compile(text)
	if err == nil {
		return script, nil
	}
	if wrong, ok := err.(*sieve.Error); ok { //nolint:errorlint // Compile says that it is one.
		return nil, wrong
	}
	return nil, &sieve.Error{Msg: file + ": " + err.Error()}
}

// SieveTestCmd runs a script.
type SieveTestCmd struct {
	Script  string   `arg:"" help:"File with the script."`
	Message string   `arg:"" help:"File with the message; - is standard input."`
	From    string   `default:"sender@example.net" help:"Sender of the envelope; <> is the null sender."`
	To      string   `default:"user@example.org" help:"Recipient of the envelope, who is the user."`
	Own     []string `placeholder:"ADDRESS" help:"Further addresses of the user."`
	Mailbox []string `placeholder:"NAME" help:"Mailboxes that exist, beside INBOX."`
	Seen    bool     `help:"The same message has come before: what duplicate and vacation remember of it is there."`
	JSON    bool     `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SieveTestCmd) Help() string {
	return `Nothing is stored, and nothing is sent. Scripts that it includes are looked for beside it, as NAME.sieve. A script that fails keeps the message, as it would when mail arrives.

Examples:

  streampost sieve test main.sieve message.eml --from bob@example.net --to alice@example.org
  streampost sieve test main.sieve message.eml --to alice@example.org --mailbox Lists --json`
}

// maxTested bounds the message of a test.
const maxTested = 64 << 20

// Run runs it.
func (c *SieveTestCmd) Run(_ *Globals, env *Env) error {
	text, err := readText(env, c.Script, account.MaxScriptOctets)
	if err != nil {
		return err
	}
	script, wrong := compileFile(c.Script, text)
	if wrong != nil {
		return domain.Errorf(domain.Invalid, "%s:%d:%d: %s", c.Script, wrong.Line, wrong.Column, wrong.Msg)
	}
	ctx, err := c.context(env)
	if err != nil {
		return err
	}
	if c.Seen {
		before := map[string]bool{}
		for _, r := range script.Run(ctx).Remember {
			before[r.Kind+" "+r.Name] = true
		}
		ctx.Seen = func(kind, name string) bool { return before[kind+" "+name] }
	}
	out := script.Run(ctx)
	if c.JSON {
		shown := struct {
			sieve.Outcome
			Error string `json:"error,omitempty"`
		}{Outcome: out}
		if out.Err != nil {
			shown.Error = out.Err.Error()
		}
		return env.json(shown)
	}
	if out.Err != nil {
		env.printf("error: %v\n", out.Err)
	}
	for _, n := range out.Notes {
		env.printf("note: %s\n", n)
	}
	if len(out.Actions) == 0 {
		env.printf("discard\n")
	}
	for i := range out.Actions {
		env.printf("%s\n", describeAction(&out.Actions[i]))
	}
	return nil
}

func (c *SieveTestCmd) context(env *Env) (*sieve.Context, error) {
	raw, err := readText(env, c.Message, maxTested)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(raw, "\r\n") { // as files are here, and not as messages travel
		raw = strings.ReplaceAll(raw, "\n", "\r\n")
	}
	scan := message.NewScanner()
	if _, err := io.WriteString(scan, raw); err != nil {
		return nil, err
	}
	root := scan.Finish().Root
	ctx := &sieve.Context{
		Now: time.Now(),
		Message: sieve.Message{Root: &root, Size: int64(len(raw)), Open: func(off, n int64) (io.ReadCloser, error) {
			end := int64(len(raw))
			if n >= 0 {
				end = min(off+n, end)
			}
			return io.NopCloser(strings.NewReader(raw[min(off, end):end])), nil
		}},
		MailboxExists: func(name string) bool {
			return strings.EqualFold(name, account.Inbox) || contains(c.Mailbox, name)
		},
		Own: func(address string) bool { return contains(c.Own, address) },
		Include: func(name string) (*sieve.Script, error) {
			text, err := os.ReadFile(filepath.Join(filepath.Dir(c.Script), filepath.Base(name)+".sieve"))
			if os.IsNotExist(err) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return sieve.Compile(string(text))
		},
		Environment: func(item string) (string, bool) {
			value, known := map[string]string{"name": "Streampost", "version": version(), "location": "MDA", "phase": "during"}[item]
			return value, known
		},
	}
	if c.From != "<>" && c.From != "" {
		if ctx.From, err = delivery.ParseAddress(c.From); err != nil {
			return nil, usage("--from: %w", err)
		}
	}
	if ctx.To, err = delivery.ParseAddress(c.To); err != nil {
		return nil, usage("--to: %w", err)
	}
	return ctx, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// describeAction says in a line, or in several, what an action does.
func describeAction(a *sieve.Action) string {
	var b strings.Builder
	b.WriteString(string(a.Kind))
	switch {
	case a.Kind == sieve.File:
		b.WriteString(" " + strconv.Quote(a.Mailbox))
	case a.Kind == sieve.Redirect:
		b.WriteString(" " + a.Address)
	case a.Kind == sieve.Reject:
		b.WriteString(" " + strconv.Quote(a.Reason))
	case a.Letter != nil:
		b.WriteString(" to " + strings.Join(append(append([]string(nil), a.Letter.To...), a.Letter.Cc...), ", ") + ": " + strconv.Quote(a.Letter.Subject))
	}
	if a.Create {
		b.WriteString(" :create")
	}
	if len(a.Flags) > 0 {
		b.WriteString(" :flags " + strings.Join(a.Flags, " "))
	}
	if a.Header != nil {
		b.WriteString(" with another header:\n" + strings.TrimRight(strings.ReplaceAll(*a.Header, "\r\n", "\n"), "\n"))
	}
	return b.String()
}
