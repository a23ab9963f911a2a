package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"
)

// library is the INBOX of one account that nobody else uses: messages of 2 to 4 KB that differ in all that SORT and THREAD look at, about half of them
// replies, and among their words one that only ten have.
type library struct {
	messages int
	filled   map[string]bool
}

// librarian is the account.
const librarian = 40

// rare is a word in ten messages; "qu" and "zzy" alone are in many.
const rare = "quzzyfrab"

func (l *library) figures() []figure {
	timed := func(name, what, command, goal string, times int) figure {
		run := l.timed(times, command)
		return figure{name: name, about: fmt.Sprintf("%s in %d messages, warm", what, l.messages), unit: "ms", goal: goal, run: run,
			prepare: func(ctx context.Context, t *target) error {
				err := l.fill(ctx, t)
				if err == nil && strings.HasPrefix(name, "search") {
					err = t.awaitIndex(ctx)
				}
				if err == nil { // which warms what a server remembers
					_, err = run(ctx, t)
				}
				return err
			}}
	}
	notSlower := "at least Dovecot's speed"
	return []figure{
		timed("sort-subject", "SORT (SUBJECT)", "SORT (SUBJECT) UTF-8 ALL", notSlower, 3),
		timed("sort-date", "SORT (REVERSE DATE)", "SORT (REVERSE DATE) UTF-8 ALL", notSlower, 3),
		timed("sort-from", "SORT (FROM DATE)", "SORT (FROM DATE) UTF-8 ALL", notSlower, 3),
		timed("thread-references", "THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL", notSlower, 3),
		timed("thread-subject", "THREAD ORDEREDSUBJECT", "THREAD ORDEREDSUBJECT UTF-8 ALL", notSlower, 3),
		timed("search-subject", "SEARCH SUBJECT", `SEARCH SUBJECT "bibufo"`, notSlower, 3),
		timed("search-from", "SEARCH FROM", `SEARCH FROM "sender17@"`, notSlower, 3),
		timed("search-flags", "SEARCH UNSEEN", "SEARCH UNSEEN", notSlower, 3),
		timed("search-rare", "SEARCH TEXT, a word of ten messages,", "SEARCH TEXT "+rare, "at least 20x Dovecot without FTS", 1),
		timed("search-part", "SEARCH TEXT, a part of that word,", "SEARCH TEXT zzyfra", "at least 20x Dovecot without FTS", 1),
	}
}

// word gives the nth of many words, frequent ones first, all of them made of syllables.
func word(n int) string {
	const consonants, vowels = "bdfgklmnprstv", "aeiou"
	var b strings.Builder
	for n += 65; n > 0; n /= 65 {
		b.WriteByte(consonants[n%65/5])
		b.WriteByte(vowels[n%5])
	}
	return b.String()
}

// write makes message n of the library.
func (l *library) write(n int) []byte {
	random := rand.New(rand.NewPCG(uint64(n), 7))
	words := rand.NewZipf(random, 1.1, 3, 30_000)
	subject := func(n int) string {
		r := rand.New(rand.NewPCG(uint64(n), 8))
		return fmt.Sprintf("%s %s %s %s", word(r.IntN(2000)), word(r.IntN(2000)), word(r.IntN(2000)), word(r.IntN(2000)))
	}
	root := n
	if n%2 == 1 { // a reply to one that is not long ago
		root = (n - 1 - 2*random.IntN(min(n/2+1, 200)))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Received: from mail%d.example.net by mx.example.org; Mon, 23 Nov 2026 10:00:00 +0000\r\n", n%20)
	fmt.Fprintf(&b, "From: Sender %s <sender%d@example.net>\r\nTo: User <user%d@example.org>\r\n", word(n%500), n*7919%500, n%7)
	if root == n {
		fmt.Fprintf(&b, "Subject: %s\r\n", subject(n))
	} else {
		fmt.Fprintf(&b, "Subject: Re: %s\r\nIn-Reply-To: <%d@bench.example>\r\nReferences: <%d@bench.example>", subject(root), root, root)
		for i := root + 2; i < n && i < root+8; i += 2 {
			fmt.Fprintf(&b, "\r\n <%d@bench.example>", i)
		}
		b.WriteString("\r\n")
	}
	date := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n)*time.Hour + time.Duration(random.IntN(5000))*time.Minute)
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <%d@bench.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", date.Format(time.RFC1123Z), n)
	if n%(l.messages/10) == 5 {
		b.WriteString(rare + "\r\n")
	}
	for size := b.Len() + 1500 + random.IntN(2000); b.Len() < size; {
		for range 10 {
			b.WriteString(word(int(words.Uint64())))
			b.WriteByte(' ')
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// fill brings the messages.
func (l *library) fill(ctx context.Context, t *target) error {
	if l.filled[t.name] {
		return nil
	}
	start := time.Now()
	c, err := dialIMAP(t, librarian)
	if err != nil {
		return err
	}
	defer c.Close()
	upload := l.append
	switch {
	case c.holds("INBOX") == l.messages: // from the run before
		upload = func(context.Context, *target) error { return nil }
	case t.binary != "":
		upload = l.deliver
	}
	if err := upload(ctx, t); err != nil {
		return err
	}
	filled := time.Since(start)
	fmt.Printf("  %-16s has its messages after %v\n", t.name, filled.Round(time.Second))
	if l.filled == nil {
		l.filled = map[string]bool{}
	}
	l.filled[t.name] = true
	return ctx.Err()
}

// deliver brings the messages by LMTP.
func (l *library) deliver(ctx context.Context, t *target) error {
	clients := make([]*lmtpConn, 16)
	for i := range clients {
		c, err := dialLMTP(t)
		if err != nil {
			return err
		}
		defer c.Close()
		clients[i] = c
	}
	_, err := rate(ctx, len(clients), l.messages, func(worker, i int) error {
		return clients[worker].deliver(t.user(librarian), append(l.write(i), ".\r\n"...))
	})
	return err
}

// append brings them 250 at a time (RFC 3502), which is the fastest way into the rival.
func (l *library) append(_ context.Context, t *target) error {
	c, err := dialIMAP(t, librarian)
	if err != nil {
		return err
	}
	defer c.Close()
	var b bytes.Buffer
	for n := 0; n < l.messages; {
		b.Reset()
		b.WriteString("APPEND INBOX")
		for range min(250, l.messages-n) {
			m := l.write(n)
			fmt.Fprintf(&b, " {%d+}\r\n%s", len(m), m)
			n++
		}
		if _, err := c.do("%s", b.String()); err != nil {
			return err
		}
	}
	return nil
}

// awaitIndex waits until the search index of Streampost, which follows in its own time, has come to the end of the log.
func (t *target) awaitIndex(ctx context.Context) error {
	for t.binary != "" && ctx.Err() == nil {
		out, err := exec.CommandContext(ctx, t.binary, "projection", "list", "--json", "--data", t.data).Output()
		if err != nil {
			return fmt.Errorf("projection list: %w", err)
		}
		var list []struct {
			Name string
			Lag  int64
		}
		if err := json.Unmarshal(out, &list); err != nil {
			return err
		}
		behind := int64(0)
		for _, p := range list {
			if p.Name == "search" {
				behind += p.Lag
			}
		}
		if behind == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	return nil
}

// timed gives the milliseconds of one command in a session of its own.
func (l *library) timed(times int, command string) func(context.Context, *target) (float64, error) {
	return func(ctx context.Context, t *target) (float64, error) {
		c, err := dialIMAP(t, librarian)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err := c.do("SELECT INBOX"); err != nil {
			return 0, err
		}
		start := time.Now()
		for range times {
			if _, err := c.do("%s", command); err != nil {
				return 0, err
			}
		}
		return time.Since(start).Seconds() * 1000 / float64(times), ctx.Err()
	}
}
