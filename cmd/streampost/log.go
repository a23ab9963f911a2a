package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// LogCmd reads and verifies the log of record.
type LogCmd struct {
	Verify  LogVerifyCmd  `cmd:"" help:"Prove that the log is whole: no entry missing, changed, moved or unreadable."`
	Show    LogShowCmd    `cmd:"" help:"Show an account's transactions."`
	Restore LogRestoreCmd `cmd:"" help:"Fill an empty log from its archive."`
	Repair  LogRepairCmd  `cmd:"" help:"Fill copies of the log anew that are damaged or stale."`
}

// LogVerifyCmd proves that the log is whole.
type LogVerifyCmd struct {
	Account string `arg:"" optional:"" help:"Address or id of one account; everything without it."`
	Shard   string `placeholder:"STREAM" help:"One stream only, such as ACCOUNTS_3, DIRECTORY or KEYS."`
	Archive bool   `help:"Verify the archive instead, and compare it with the log."`
	Mend    bool   `help:"With --archive: write anew from the log what is wrong in the archive."`
	JSON    bool   `name:"json" help:"Print JSON lines."`
	Detached
}

// Help teaches.
func (*LogVerifyCmd) Help() string {
	return `Each account's transactions must be numbered without gaps, each must carry the hash of the one before it, and each must open with the account's key. The keys themselves, in the stream KEYS, must be wrapped by a master key at hand and open under their own names. Damage is printed with account and Tx, and the exit code is then 4.

With --archive, the archive must have every transaction up to where it says it stands, chained and readable, the last ones must be those of the log, and the keys must be those of KEYS.

It works beside a running server, or without one on its data directory, where the checksums of the log's files are checked before they are opened.

Examples:

  streampost log verify
  streampost log verify alice@example.org
  streampost log verify --shard ACCOUNTS_3 --json
  streampost log verify --archive
  streampost log verify --archive --mend`
}

// Run walks the log.
func (c *LogVerifyCmd) Run(g *Globals, env *Env) error {
	if c.Archive && c.Shard != "" || c.Mend && !c.Archive {
		return usage("--archive is about all streams, and --mend about --archive")
	}
	show := func(d webadmin.Damage) {
		if c.JSON {
			env.printf("%s\n", mustJSON(d))
		} else {
			env.printf("%s\n", damageLine(d))
		}
	}
	spoilt := uint64(0) // records whose framing is wrong
	server, err := g.connectOrOpen(env, func(opened *core) error {
		found, err := opened.inspect()
		for _, d := range found {
			spoilt++
			show(d)
		}
		return err
	})
	var sum webadmin.Verified
	if err == nil {
		defer server.Close()
		err = server.long(env, c.Detached, longWork{
			kind: "log-verify", parameters: webadmin.Scope{Account: domain.AccountID(c.Account), Stream: c.Shard, Archive: c.Archive, Mend: c.Mend},
			route: path("log", "verify") + query("account", c.Account, "stream", c.Shard, "archive", said(c.Archive), "mend", said(c.Mend)),
			item: func(raw json.RawMessage) error {
				var d webadmin.Damage
				if err := json.Unmarshal(raw, &d); err != nil {
					return err
				}
				show(d)
				return nil
			},
		}, &sum)
	}
	if err != nil && spoilt > 0 {
		return &exitError{exitFound, err} // the walk could not begin, or did not come to its end, because of what was found
	}
	if err != nil {
		return err
	}
	sum.Damages += spoilt
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else if c.Archive {
		env.printf("%d entries in %d segments of %d accounts; %d accounts erased, %d keys, %d entries not archived yet, %d damaged\n",
			sum.Entries, sum.Segments, sum.Accounts, sum.Erased, sum.Keys, sum.Behind, sum.Damages)
	} else {
		env.printf("%d entries; %d accounts, %d of them erased, %d keys, %d damaged\n", sum.Entries, sum.Accounts, sum.Erased, sum.Keys, sum.Damages)
	}
	if sum.Damages > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

// inspect looks at the files of the embedded log before the server opens them: some damage it would not survive.
func (c *core) inspect() (found []webadmin.Damage, err error) {
	if c.cfg.Streams.URL != "" {
		return nil, nil
	}
	damaged, err := natsd.Inspect(c.data.join("log"))
	for _, d := range damaged {
		found = append(found, webadmin.Damage{Stream: d.Stream, Seq: d.After + 1, Problem: d.Error()})
	}
	return found, err
}

// damageLine says where the damage is, as far as it is known: what is gone does not say whose it was.
func damageLine(d webadmin.Damage) string {
	line := d.Stream
	if d.Seq > 0 {
		line += fmt.Sprintf(" seq %d", d.Seq)
	}
	if d.Account != "" {
		line += fmt.Sprintf(" account %s Tx %d", d.Account, d.Tx)
	}
	return line + ": " + d.Problem
}

// LogShowCmd shows transactions.
type LogShowCmd struct {
	Account named     `arg:"" help:"Address or id of the account, or the word directory."`
	From    domain.Tx `placeholder:"TX" help:"Begin at this transaction."`
	JSON    bool      `name:"json" help:"Print one JSON object per line, with everything but keys."`
}

// Help teaches.
func (*LogShowCmd) Help() string {
	return `Examples:

  streampost log show alice@example.org
  streampost log show alice@example.org --from 100 --json | jq .transaction.events
  streampost log show directory`
}

// shownTransaction is what the text form uses of a transaction.
type shownTransaction struct {
	At     int64             `json:"at"`
	Actor  string            `json:"actor"`
	Events []json.RawMessage `json:"events"`
}

// Run prints the log.
func (c *LogShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	from := ""
	if c.From > 0 {
		from = strconv.FormatUint(uint64(c.From), 10)
	}
	var sum struct{ Entries int }
	return server.stream(env, http.MethodGet, path("accounts", string(c.Account), "log")+query("from", from), nil, func(raw json.RawMessage) error {
		if c.JSON {
			env.printf("%s\n", raw)
			return nil
		}
		var e struct {
			webadmin.LogEntry
			Transaction *shownTransaction `json:"transaction"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		if e.Transaction == nil {
			env.printf("%d  erased\n", e.Tx)
			return nil
		}
		env.printf("%d  %s  %s\n", e.Tx, time.UnixMilli(e.Transaction.At).UTC().Format(time.RFC3339), e.Transaction.Actor)
		for _, event := range e.Transaction.Events {
			env.printf("    %s\n", eventLine(event))
		}
		return nil
	}, &sum)
}

// eventLine makes one line of an event, without the long parts that --json shows.
func eventLine(raw json.RawMessage) string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return string(raw)
	}
	var line struct {
		Type    string
		Summary struct{ Envelope struct{ Subject string } }
		Blob    struct{ ID string }
	}
	if err := json.Unmarshal(raw, &line); err != nil {
		return string(raw)
	}
	delete(fields, "type")
	if _, ok := fields["summary"]; ok {
		subject := line.Summary.Envelope.Subject
		if decoded, err := new(mime.WordDecoder).DecodeHeader(subject); err == nil {
			subject = decoded
		}
		fields["summary"] = json.RawMessage(strconv.Quote(subject)) // a subject cannot steer the terminal
		fields["blob"] = mustJSON(line.Blob.ID[:min(12, len(line.Blob.ID))])
	}
	for name, value := range fields {
		var n int64
		if json.Unmarshal(value, &n) != nil {
			continue
		}
		switch name {
		case "internalDate", "savedDate":
			fields[name] = json.RawMessage(time.Unix(n, 0).UTC().Format(time.RFC3339))
		case "flags", "add", "remove":
			fields[name] = json.RawMessage(flagNames(event.Flags(n)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		line.Type += " " + name + "=" + string(fields[name])
	}
	return line.Type
}

// flagNames writes flags as IMAP does. A keyword has a number only, which an earlier event gave it.
func flagNames(flags event.Flags) string {
	names := []string{}
	for i, name := range []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`} {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	for n := range event.MaxKeywords {
		if flags&event.KeywordFlag(n) != 0 {
			names = append(names, fmt.Sprintf("keyword%d", n))
		}
	}
	return "(" + strings.Join(names, " ") + ")"
}

// mustJSON encodes what cannot fail.
func mustJSON(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// said is a flag as a query has it.
func said(flag bool) string {
	if flag {
		return "true"
	}
	return ""
}

// query makes ?key=value&... of the pairs whose values are not empty.
func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}
