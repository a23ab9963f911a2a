package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/adapters/maildir"
	"github.com/streampost/streampost/adapters/mbox"
	"github.com/streampost/streampost/adapters/webadmin"
)

// ImportCmd imports mail.
type ImportCmd struct {
	Mbox    ImportMboxCmd    `cmd:"" help:"Import an mbox file, or a directory of them."`
	Maildir ImportMaildirCmd `cmd:"" help:"Import a maildir with all its folders."`
}

// ImportFlags are what both forms share.
type ImportFlags struct {
	Path    string `arg:"" help:"What to import."`
	Account named  `required:"" short:"a" placeholder:"ACCOUNT" help:"Address or id of the account to import into."`
	State   string `placeholder:"FILE" help:"Where to note what is done, so that the same command resumes after an interruption (PATH.streampost-import)."`
	Again   bool   `help:"Forget an earlier run and import everything again."`
	JSON    bool   `name:"json" help:"Print JSON lines."`
}

// stateSuffix names the file beside what is imported that tells what is done.
const stateSuffix = ".streampost-import"

const importHelp = `Dates, flags and folders are kept; mailboxes that do not exist are made. A message that the server refuses is named with the reason at the end and the exit code is then 4; all others are imported. Each message that the server has stored is noted in the state file, so an interrupted import resumes where it stopped; only one that was killed may repeat the few messages whose answers it did not see. Symbolic links, pipes and whatever else is no regular file is passed over and named, but for the path itself.

`

// ImportMboxCmd imports mbox files.
type ImportMboxCmd struct {
	ImportFlags
	Mailbox string `placeholder:"NAME" help:"Mailbox to import a file into. Without it that is INBOX, and the name of each file for a directory."`
}

// Help teaches.
func (*ImportMboxCmd) Help() string {
	return importHelp + `mboxo, mboxrd, mboxcl2 and Thunderbird's files are read. Flags come from Status, X-Status, X-Mozilla-Status and X-Keywords.

Examples:

  streampost import mbox ~/mail/inbox.mbox --account alice@example.org
  streampost import mbox takeout.mbox --account alice@example.org --mailbox Archive/2019`
}

// Run imports.
func (c *ImportMboxCmd) Run(g *Globals, env *Env) error {
	if _, err := os.Stat(filepath.Join(c.Path, "cur")); err == nil {
		return usage("%s has a directory cur, as a maildir has: say import maildir", c.Path)
	}
	return c.run(g, env, c.Mailbox, func(im *importer) error {
		info, err := os.Stat(c.Path)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			file, err := filepath.EvalSymlinks(c.Path) // The user has named the link.
			if err != nil {
				return err
			}
			return im.mbox(file, c.Path, cmp.Or(c.Mailbox, "INBOX"))
		}
		return filepath.WalkDir(c.Path+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
			if err == nil && env.interrupted() {
				return errInterrupted
			}
			if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(d.Name(), stateSuffix) {
				return err
			}
			rel, err := filepath.Rel(c.Path, path)
			if err != nil {
				return err
			}
			name := strings.TrimSuffix(filepath.ToSlash(rel), ".mbox")
			name = strings.ReplaceAll(name, ".sbd/", "/") // Thunderbird's directory of subfolders
			if err := im.mbox(path, path, cmp.Or(c.Mailbox, name)); errors.Is(err, maildir.ErrNotRegular) {
				im.passOver(path, maildir.ErrNotRegular.Error())
			} else if errors.Is(err, mbox.ErrFormat) {
				im.passOver(path, mbox.ErrFormat.Error())
			} else if errors.Is(err, fs.ErrPermission) && !im.cut {
				im.local = append(im.local, refusal{refOf(path), err.Error()})
			} else {
				return err
			}
			return nil
		})
	})
}

// ImportMaildirCmd imports a maildir.
type ImportMaildirCmd struct {
	ImportFlags
}

// Help teaches.
func (*ImportMaildirCmd) Help() string {
	return importHelp + `Folders may be Maildir++ (.Sent, .Work.2020) or plain directories. Dates come from the files' times, keywords from dovecot-keywords.

Examples:

  streampost import maildir ~/Maildir --account alice@example.org`
}

// Run imports.
func (c *ImportMaildirCmd) Run(g *Globals, env *Env) error {
	return c.run(g, env, "", func(im *importer) error { return im.maildir(c.Path) })
}

var errInterrupted = errors.New("interrupted")

// importer sends messages to the server in one streaming request and notes the answers.
type importer struct {
	env    *Env
	root   string // the directory that references to files begin in, however the command line writes it
	out    webadmin.ImportWriter
	done   map[string]bool // refs of an earlier run
	passed uint64          // refs that were done already
	local  []refusal
	over   int  // what was passed over, because it cannot be mail
	cut    bool // the last message was sent in part
}

type refusal struct{ ref, why string }

// patience is how long a walk may go on after it was interrupted. It ends between two messages, so only one that a file system keeps waiting takes longer.
var patience = 10 * time.Second

// run imports what walk sends. into is the one mailbox that all goes to, empty if there is none.
func (c *ImportFlags) run(g *Globals, env *Env, into string, walk func(*importer) error) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	if c.Path == "" {
		return usage("the path of what to import is empty")
	}
	if _, err := os.Stat(c.Path); err != nil {
		return err
	}
	if err := server.call(env, http.MethodGet, path("accounts", string(c.Account)), nil, nil); err != nil {
		return err // before anything is noted about an account that does not exist
	}
	state, done, err := c.openState(into)
	if err != nil {
		return err
	}
	defer state.Close()
	began := time.Now()
	body, pipe := io.Pipe()
	im := &importer{env: env, root: filepath.Dir(filepath.Clean(c.Path)), out: webadmin.ImportWriter{W: pipe}, done: done}
	walked := make(chan error, 1)
	defer context.AfterFunc(env, func() {
		time.Sleep(patience)
		_ = pipe.CloseWithError(errInterrupted)
	})()
	go func() {
		err := walk(im)
		if im.cut {
			_ = pipe.CloseWithError(err)
		} else {
			_ = pipe.Close() // what was sent is whole, and its answers are worth waiting for, whatever ended the walk
		}
		walked <- err
	}()
	var refused []refusal
	var answered uint64
	bar := newBar(env)
	var sum webadmin.ImportSum
	request := *env
	request.Context = context.WithoutCancel(env) // a signal ends the walk, so that every message sent is also noted
	err = server.stream(&request, http.MethodPost, path("accounts", string(c.Account), "messages"), body, func(raw json.RawMessage) error {
		var m webadmin.Imported
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		answered++
		bar.show(webadmin.Progress{Done: answered, Unit: "messages", At: m.Mailbox})
		if m.Error != nil {
			refused = append(refused, refusal{m.Ref, m.Error.Error()})
			return nil
		}
		_, err := fmt.Fprintln(state, m.Ref)
		return err
	}, &sum)
	bar.finish()
	_ = body.Close() // ends the walk when the request failed
	if walkErr := waitFor(env, walked); walkErr != nil && !errors.Is(walkErr, io.ErrClosedPipe) {
		err = walkErr
	}
	refused = append(im.local, refused...)
	for _, r := range refused {
		if c.JSON {
			env.printf("%s\n", mustJSON(map[string]string{"refused": r.ref, "why": r.why}))
		} else {
			env.printf("refused %s: %s\n", r.ref, r.why)
		}
	}
	imported := int(answered) - (len(refused) - len(im.local))
	if imported == 0 && len(done) == 0 {
		_ = os.Remove(state.Name()) // it says nothing, and would be in the way of an import into another account
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(map[string]any{"imported": imported, "refused": len(refused), "doneBefore": im.passed, "passedOver": im.over, "seconds": time.Since(began).Seconds()}))
	} else {
		tellReasons(env, refused)
		if im.over > 0 {
			env.printf("%d passed over, because they are no files of messages\n", im.over)
		}
		env.printf("%d messages imported, %d refused, %d done before, in %s\n", imported, len(refused), im.passed, time.Since(began).Round(time.Millisecond))
	}
	var exit *exitError
	switch {
	case errors.As(err, &exit) || err != nil && answered+im.passed == 0:
		return err
	case err != nil:
		return fmt.Errorf("the import is not complete, run the same command again to resume: %w", err)
	case len(refused) > 0:
		return &exitError{exitFound, nil}
	}
	return nil
}

// waitFor waits for the end of a walk, if need be no longer than an interrupted one may take.
func waitFor(ctx context.Context, walked <-chan error) error {
	select {
	case err := <-walked:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-walked:
		return err
	case <-time.After(patience):
		return errInterrupted
	}
}

// tellReasons sums up why messages were refused, when that is more than a few lines.
func tellReasons(env *Env, refused []refusal) {
	if len(refused) < 10 {
		return
	}
	reasons := map[string]int{}
	for _, r := range refused {
		reasons[r.why]++
	}
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		env.printf("%d refused: %s\n", reasons[why], why)
	}
}

// openState reads what an earlier run has done and opens the file to add to it. A line that a crash cut short is not counted as done.
func (c *ImportFlags) openState(into string) (*os.File, map[string]bool, error) {
	name := cmp.Or(c.State, strings.TrimRight(c.Path, "/")+stateSuffix)
	head := "# streampost import into " + string(c.Account)
	if into != "" {
		head += " " + refOf(into)
	}
	head += "\n"
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	done := map[string]bool{}
	if c.Again || len(text) == 0 {
		text = nil
	} else if !strings.HasPrefix(string(text), head) {
		return nil, nil, usage("%s is of an import into another account or mailbox: name another file with --state, or say --again", name)
	}
	whole := strings.LastIndexByte(string(text), '\n') + 1
	for line := range strings.Lines(string(text[:whole])) {
		done[strings.TrimSuffix(line, "\n")] = true
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("note what is imported (another file can be named with --state): %w", err)
	}
	if err := file.Truncate(int64(whole)); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	if whole == 0 {
		if _, err := file.WriteString(head); err != nil {
			return nil, nil, errors.Join(err, file.Close())
		}
	}
	return file, done, nil
}

func (im *importer) add(h webadmin.ImportHeader, open func() (io.Reader, error)) error {
	if im.env.interrupted() {
		return errInterrupted
	}
	if im.done[h.Ref] {
		im.passed++
		return nil
	}
	r, err := open()
	if err != nil {
		return err
	}
	err = im.out.Add(h, r)
	im.cut = err != nil
	return err
}

// refOf makes a reference that survives JSON and is one line of the state file. File names may be any octets.
func refOf(name string) string {
	if utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsControl) < 0 {
		return name
	}
	return strconv.QuoteToASCII(name)
}

// passOver names what lies among the mail and is none.
func (im *importer) passOver(name, why string) {
	im.over++
	im.env.tell("%s is passed over: %s\n", refOf(name), why)
}

// mbox imports a file that the user knows by another name, perhaps.
func (im *importer) mbox(name, known, mailbox string) error {
	file, err := maildir.OpenFile(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	shown, err := filepath.Rel(im.root, known)
	if err != nil {
		return err
	}
	messages := mbox.NewReader(file, info.Size())
	for {
		m, err := messages.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		ref := refOf(fmt.Sprintf("%s@%d", shown, m.Offset))
		if m.Skip != "" {
			im.local = append(im.local, refusal{ref, m.Skip})
			continue
		}
		h := webadmin.ImportHeader{Mailbox: mailbox, Flags: m.Flags, Size: m.Size, Ref: ref}
		if !m.Date.IsZero() {
			h.Internal = m.Date.Unix()
		}
		if err := im.add(h, func() (io.Reader, error) { return m.Open(), nil }); err != nil {
			return err
		}
	}
}

func (im *importer) maildir(root string) error {
	folders, passed, err := maildir.Folders(im.env, root)
	for _, p := range passed {
		im.passOver(p.Path, p.Why)
	}
	if err != nil {
		return err
	}
	for _, f := range folders {
		messages, passed, err := f.Messages(im.env)
		for _, p := range passed {
			im.passOver(p.Path, p.Why)
		}
		if err != nil {
			return err
		}
		for _, m := range messages {
			if err := im.file(f, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (im *importer) file(f maildir.Folder, m maildir.Message) error {
	ref := refOf(f.Name + "/" + m.Key)
	if im.done[ref] {
		im.passed++
		return nil
	}
	r, size, err := m.Open()
	if err != nil {
		im.local = append(im.local, refusal{ref, err.Error()})
		return nil
	}
	defer r.Close()
	return im.add(webadmin.ImportHeader{Mailbox: f.Name, Flags: m.Flags, Internal: m.Date.Unix(), Size: size, Ref: ref}, func() (io.Reader, error) { return r, nil })
}
