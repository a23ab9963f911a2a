package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/ops/config"
)

// demoFile keeps the demo's passwords, so that a restart prints the same ones, and how far it was set up.
const demoFile = "demo.json"

type demoFacts struct {
	Passwords map[string]string `json:"passwords"`
	Complete  bool              `json:"complete"` // the accounts exist and have these passwords
	Mail      bool              `json:"mail"`     // the messages were imported
}

const demoDomain = "example.org"

// demoPatience is how long the demo's messages are tried for again while the server is not ready for them.
const demoPatience = 5 * time.Minute

var demoUsers = []string{"alice", "bob"}

//go:embed demo/*.eml
var demoMessages embed.FS

// demo makes the demo's domain, accounts and messages. Whatever a crash left half done is completed.
func (s *server) demo(ctx context.Context, password string) error {
	facts, err := s.demoFacts(ctx, password)
	if err != nil {
		return err
	}
	s.demoPasswords = maps.Clone(facts.Passwords)
	if facts.Mail { // It was made once. An account that is gone since was erased on purpose.
		for address := range facts.Passwords {
			_, err := s.directory.Lookup(ctx, address)
			if domain.Is(err, domain.NotFound) {
				delete(s.demoPasswords, address)
			} else if err != nil {
				return err
			}
		}
	}
	if facts.Complete {
		return nil
	}
	if err := s.directory.AddDomain(ctx, "demo", demoDomain); err != nil && !domain.Is(err, domain.Exists) {
		return err
	}
	for _, user := range demoUsers {
		address := user + "@" + demoDomain
		if s.demoPasswords[address] == "" {
			continue
		}
		made, err := s.directory.AddAccount(ctx, "demo", address, facts.Passwords[address])
		if domain.Is(err, domain.Exists) {
			if made, err = s.directory.Lookup(ctx, address); err == nil {
				err = s.directory.SetPassword(ctx, "demo", made.ID, facts.Passwords[address])
			}
		}
		if err == nil && user == "alice" && !facts.Mail {
			err = s.demoMail(ctx, made.ID)
			// On a busy machine the views may be later than a client would wait for them. Here only the operator waits.
			for until := time.Now().Add(demoPatience); domain.Is(err, domain.Unavailable) && ctx.Err() == nil && time.Now().Before(until); err = s.demoMail(ctx, made.ID) {
				s.log.Warn("the messages of the demo are not all there yet", "error", err)
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		}
		if err != nil {
			return fmt.Errorf("make the demo account %s: %w", address, err)
		}
	}
	facts.Complete, facts.Mail = true, true
	return s.data.writeJSON(demoFile, facts)
}

// demoFacts reads what an earlier run noted, or notes new passwords before anything is made with them.
func (s *server) demoFacts(ctx context.Context, password string) (facts demoFacts, err error) {
	text, err := os.ReadFile(s.data.join(demoFile))
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &facts); err != nil {
			return facts, fmt.Errorf("read %s: %w", s.data.join(demoFile), err)
		}
	case errors.Is(err, fs.ErrNotExist):
		domains, err := s.directory.Domains(ctx)
		if err != nil {
			return facts, err
		}
		if len(domains) > 0 {
			return facts, &domain.Error{Kind: domain.Invalid, Msg: "the data directory holds an installation that is not a demo", Hint: "leave --demo out, or choose another directory with --data"}
		}
	default:
		return facts, err
	}
	wanted := map[string]string{}
	for _, user := range demoUsers {
		address := user + "@" + demoDomain
		wanted[address] = cmp.Or(password, facts.Passwords[address], strings.ToLower(rand.Text()[:12]))
	}
	if maps.Equal(wanted, facts.Passwords) {
		return facts, nil
	}
	facts.Passwords, facts.Complete = wanted, false
	return facts, s.data.writeJSON(demoFile, facts)
}

// demoMail puts the messages into INBOX, beginning with the first that is not there.
func (s *server) demoMail(ctx context.Context, id domain.AccountID) error {
	files, err := demoMessages.ReadDir("demo")
	if err != nil {
		return err
	}
	var have int
	err = s.accounts.View(ctx, id, func(state *account.State) error {
		if inbox, ok := state.Mailbox(account.Inbox); ok {
			have = int(inbox.UIDNext) - 1
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, file := range files[min(have, len(files)):] {
		text, err := demoMessages.ReadFile("demo/" + file.Name())
		if err != nil {
			return err
		}
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		stored, err := s.accounts.Ingest(ctx, bytes.NewReader(text))
		if err != nil {
			return err
		}
		thread, err := s.accounts.Thread(ctx, id, &stored.Summary)
		if err != nil {
			return err
		}
		_, err = s.accounts.Do(ctx, id, "demo", account.AddMessage{
			Mailbox: account.Inbox, Blob: stored.Blob, Summary: stored.Summary, Internal: stored.Summary.SentAt, Now: time.Now().Unix(), Thread: thread,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tellDemo prints the lines to try.
func (s *server) tellDemo(env *Env) {
	at := func(list []string) string {
		if len(list) == 0 {
			return "(off)"
		}
		return config.Shift(list[0], s.cfg.PortOffset)
	}
	port := func(address string) string {
		_, p, err := net.SplitHostPort(address)
		if err != nil {
			return address
		}
		return p
	}
	var users []string
	for _, user := range demoUsers {
		if address := user + "@" + demoDomain; s.demoPasswords[address] != "" {
			users = append(users, address)
		}
	}
	if len(users) == 0 {
		env.printf("\nStreampost serves %s from %s. The accounts of the demo were erased.\n\n", demoDomain, s.data.path)
		return
	}
	reader, writer := users[0], users[len(users)-1]
	login := reader + ":" + s.demoPasswords[reader]
	data := ""
	if s.cfg.Data != config.Default().Data {
		data = " --data " + quote(s.cfg.Data)
	}
	env.printf("\nStreampost serves the demo domain %s from %s.\n\n", demoDomain, s.data.path)
	for _, address := range users {
		env.printf("  %-20s password  %s\n", address, s.demoPasswords[address])
	}
	env.printf("\n  IMAP %s  IMAPS %s  POP3 %s  POP3S %s\n  SMTP %s  submission %s and %s  LMTP %s  ManageSieve %s  admin %s\n", at(s.cfg.IMAP.Listen), at(s.cfg.IMAP.ListenTLS), at(s.cfg.POP3.Listen), at(s.cfg.POP3.ListenTLS), at(s.cfg.SMTP.Listen),
		at(s.cfg.Submission.Listen), at(s.cfg.Submission.ListenTLS), at(s.cfg.LMTP.Listen), at(s.cfg.ManageSieve.Listen), at(s.cfg.Admin.Listen))
	env.printf("\nDeliver a message, and read it:\n\n")
	env.printf("  printf 'From: carol@example.net\\nSubject: hello\\n\\nIt works.\\n' | curl -sS --crlf smtp://%s --mail-from carol@example.net --mail-rcpt %s -T -\n", at(s.cfg.SMTP.Listen), reader)
	env.printf("  curl -sS -u %s 'imap://%s/INBOX' -X 'FETCH 1:* (FLAGS ENVELOPE)'\n", quote(login), at(s.cfg.IMAP.Listen))
	env.printf("  curl -sS -k -u %s 'imaps://%s/INBOX;MAILINDEX=1'\n", quote(login), at(s.cfg.IMAP.ListenTLS))
	env.printf("  curl -sS -k -u %s 'pop3s://%s/1'\n", quote(login), at(s.cfg.POP3.ListenTLS))
	env.printf("\nSubmit as a user, with swaks:\n\n")
	env.printf("  swaks --server %s --tls --auth PLAIN --auth-user %s --auth-password %s --from %s --to %s\n", at(s.cfg.Submission.Listen), writer,
		quote(s.demoPasswords[writer]), writer, reader)
	env.printf("\nA mail program: IMAP server localhost port %s (or %s with TLS), outgoing server localhost port %s (STARTTLS) or %s (TLS),\nuser name %s. The certificate is self-signed: %s\n",
		port(at(s.cfg.IMAP.Listen)), port(at(s.cfg.IMAP.ListenTLS)), port(at(s.cfg.Submission.Listen)), port(at(s.cfg.Submission.ListenTLS)), reader, s.data.join("tls/cert.pem"))
	env.printf("\nLook behind it:\n\n  streampost log show %s%s\n  streampost projection list%s\n  streampost status%s\n\nCtrl-C ends it.\n\n", reader, data, data, data)
}

// quote makes a word that a shell leaves alone.
func quote(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@.:/_-+,", r)
	}) < 0 && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
