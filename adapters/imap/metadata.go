package imap

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// METADATA (RFC 5464) and LIST-METADATA (RFC 9590). Annotations of mailboxes are private or shared; of the server a user has private ones only,
// since shared ones would be everybody's. Of changes in other sessions NOTIFY tells, and nothing else does (section 4.1: MAY).

func init() {
	register(spec{name: "GETMETADATA", states: loggedIn, run: runGetMetadata, capabilities: []string{"METADATA"}})
	register(spec{name: "SETMETADATA", states: loggedIn, run: runSetMetadata, capabilities: []string{"METADATA"}})
	advertise("LIST-METADATA", whenAuthenticated)
	listReturns["METADATA"] = listReturn{"LIST-METADATA", parseListMetadata}
}

// maxMetadataEntries bounds the entries that one command names.
const maxMetadataEntries = 1000

// annotation is one entry with its value, as a response shows it.
type annotation struct {
	entry string
	value string
	there bool
}

// metadataRequest is what GETMETADATA asks for.
type metadataRequest struct {
	mailbox string
	entries []string
	maxSize int64    // -1: any
	depth   int      // 0, 1 or 2 for infinity
	given   []string // options
}

// expectEntries parses one entry or several in parentheses.
func expectEntries(d *wire.Decoder, entries *[]string) bool {
	one := func() bool {
		var entry string
		if !d.ExpectAString(&entry) {
			return false
		}
		if len(*entries) == maxMetadataEntries {
			return d.Fail(&wire.SyntaxError{Code: "LIMIT", Text: "the command names too many entries"})
		}
		if !validEntry(entry) {
			return d.Fail(wire.Syntaxf("an entry begins with /private or /shared, and has neither empty components nor wildcards"))
		}
		*entries = append(*entries, entry)
		return true
	}
	if !d.Next('(') {
		return one()
	}
	return d.ExpectList(one) && (len(*entries) > 0 || d.Fail(wire.Syntaxf("no entry is named")))
}

// validEntry accepts what can be asked for: entries, and what can lie above them.
func validEntry(entry string) bool {
	return account.CheckEntry(account.CanonicalEntry(entry)+"/x/x/x") == nil
}

// runGetMetadata is GETMETADATA (RFC 5464 section 4.2). Its options stand in front of the mailbox, as the formal syntax has it, or behind it, as the
// examples have it and clients write it.
func runGetMetadata(ctx context.Context, c *conn, cmd *command) error {
	r := metadataRequest{maxSize: -1}
	d := cmd.dec
	if !d.ExpectSP() || d.Next('(') && (!r.options(d) || !d.ExpectSP()) || !d.ExpectMailbox(&r.mailbox) || !d.ExpectSP() {
		return d.Err()
	}
	if d.Follows("(MAXSIZE ") || d.Follows("(DEPTH ") {
		if !r.options(d) || !d.ExpectSP() {
			return d.Err()
		}
	}
	if !expectEntries(d, &r.entries) || !d.ExpectCRLF() {
		return d.Err()
	}
	var found []annotation
	var longest int
	at, err := c.whose(ctx, r.mailbox)
	if err != nil {
		return err
	}
	err = c.viewOf(ctx, at.owner, func(s *account.State) error {
		of := s.Metadata
		if r.mailbox != "" {
			m, err := c.reach(s, at, account.MayLookup)
			if err == nil && c.rights(at.owner, m)&mayAnnotate == 0 {
				err = domain.Errorf(domain.Denied, "you may not read the annotations of the mailbox")
			}
			if err != nil {
				return err
			}
			of = c.metadataOf(at.owner, m)
		}
		found, longest = r.find(of)
		return nil
	})
	if err != nil {
		return err
	}
	if len(found) > 0 {
		c.sendMetadata(r.mailbox, found)
	}
	if longest > 0 {
		cmd.ok("METADATA LONGENTRIES "+strconv.Itoa(longest), "") // RFC 5464 section 4.2.1.
	}
	return nil
}

// mayAnnotate are the rights of which one, beside "l", lets one read annotations (RFC 5464 section 3.3).
const mayAnnotate = account.MayRead | account.MaySee | account.MayWrite | account.MayInsert | account.MayPost

// metadataOf gives the annotations of a mailbox that the user may read: to its owner also the private ones, with its special use among them (RFC 6154
// section 4). It runs inside a View.
func (c *conn) metadataOf(o owner, m *account.Mailbox) account.Metadata {
	if c.foreign(o) {
		return sharedEntries(m.Metadata)
	}
	if m.SpecialUse == "" {
		return m.Metadata
	}
	of := maps.Clone(m.Metadata)
	if of == nil {
		of = account.Metadata{}
	}
	of[account.SpecialUseEntry] = m.SpecialUse
	return of
}

// sharedEntries gives the annotations that others may see.
func sharedEntries(all account.Metadata) account.Metadata {
	some := maps.Clone(all)
	maps.DeleteFunc(some, func(entry, _ string) bool { return !strings.HasPrefix(entry, "/shared/") })
	return some
}

// options parses MAXSIZE and DEPTH.
func (r *metadataRequest) options(d *wire.Decoder) bool {
	return d.ExpectList(func() bool {
		var option, depth string
		if !d.ExpectName(&option) || !d.ExpectSP() {
			return false
		}
		if slices.Contains(r.given, option) {
			return d.Fail(wire.Syntaxf("%s is given twice", option))
		}
		r.given = append(r.given, option)
		switch option {
		case "MAXSIZE":
			return d.ExpectNumber64(&r.maxSize)
		case "DEPTH":
			if !d.ExpectName(&depth) {
				return false
			}
			if r.depth = slices.Index([]string{"0", "1", "INFINITY"}, depth); r.depth < 0 {
				return d.Fail(wire.Syntaxf("DEPTH is 0, 1 or infinity"))
			}
			return true
		}
		return d.Fail(wire.Syntaxf("GETMETADATA has no option of that name"))
	})
}

// find gives what is asked for, and the size of the largest value that is longer than wanted. An entry that is named and has no value is NIL. It
// runs inside a View.
func (r *metadataRequest) find(of account.Metadata) (found []annotation, longest int) {
	shown := map[string]bool{}
	add := func(entry, spelt string) {
		value, there := of[entry]
		switch {
		case shown[entry] || !there && r.depth > 0:
		case there && r.maxSize >= 0 && int64(len(value)) > r.maxSize:
			longest = max(longest, len(value))
		default:
			shown[entry] = true
			found = append(found, annotation{spelt, value, there})
		}
	}
	for _, spelt := range r.entries {
		entry := account.CanonicalEntry(spelt)
		add(entry, spelt)
		if r.depth == 0 {
			continue
		}
		for _, other := range slices.Sorted(maps.Keys(of)) {
			below, is := strings.CutPrefix(other, entry+"/")
			if is && (r.depth > 1 || !strings.Contains(below, "/")) { // RFC 5464 section 4.2.2.
				add(other, spelt+other[len(entry):])
			}
		}
	}
	return found, longest
}

// sendMetadata writes a METADATA response (RFC 5464 section 4.4.1). Values that a string cannot hold are literal8.
func (c *conn) sendMetadata(mailbox string, found []annotation) {
	c.enc.Raw("* METADATA ").Mailbox(mailbox).SP()
	c.enc.List(len(found), func(i int) {
		a := found[i]
		c.enc.AString(a.entry).SP()
		if !a.there {
			c.enc.NIL()
			return
		}
		if bytes.IndexByte([]byte(a.value), 0) < 0 {
			c.enc.String(a.value)
			return
		}
		c.enc.Literal(int64(len(a.value)), true)
		_, _ = c.enc.Write([]byte(a.value))
		_ = c.enc.End()
	}).CRLF()
}

// runSetMetadata is SETMETADATA (RFC 5464 section 4.3).
func runSetMetadata(ctx context.Context, c *conn, cmd *command) error {
	limits := c.server.limits
	wish := account.SetMetadata{Limits: account.MetadataLimits{Value: limits.MetadataValue, Entries: limits.MetadataEntries, Octets: limits.MetadataOctets}}
	d := cmd.dec
	if !mailboxName(d, &wish.Mailbox) || !d.ExpectSP() || !d.ExpectList(func() bool {
		var entry, value string
		if !d.ExpectAString(&entry) || !d.ExpectSP() {
			return false
		}
		if len(wish.Changes) == maxMetadataEntries {
			return d.Fail(&wire.SyntaxError{Code: "LIMIT", Text: "the command names too many entries"})
		}
		if err := account.CheckEntry(account.CanonicalEntry(entry)); err != nil {
			return d.Fail(wire.Syntaxf("%s", err))
		}
		change := account.MetadataChange{Entry: entry}
		present, ok := d.ExpectNString(&value)
		if present {
			change.Value = &value
		}
		wish.Changes = append(wish.Changes, change)
		return ok
	}) || len(wish.Changes) == 0 && !d.Fail(wire.Syntaxf("no entry is named")) || !d.ExpectCRLF() { // RFC 5464 section 5, entry-values.
		return d.Err()
	}
	if wish.Mailbox == "" && slices.ContainsFunc(wish.Changes, func(change account.MetadataChange) bool {
		return strings.HasPrefix(account.CanonicalEntry(change.Entry), "/shared/")
	}) { // RFC 5464 section 3.3: a server may restrict them.
		return domain.Errorf(domain.Denied, "shared annotations of the server cannot be set")
	}
	at, err := c.whose(ctx, wish.Mailbox)
	if err == nil {
		wish.Mailbox = at.name
		_, err = c.doOf(ctx, at.owner, wish)
	}
	switch {
	case errors.Is(err, account.ErrPrivate):
		return coded("METADATA NOPRIVATE", err) // RFC 5464 section 4.3.
	case errors.Is(err, account.ErrValueTooLarge):
		return coded("METADATA MAXSIZE "+strconv.Itoa(limits.MetadataValue), err)
	case errors.Is(err, account.ErrSpecialUse):
		return coded("USEATTR", err) // RFC 6154 section 4.
	case errors.Is(err, account.ErrTooManyMetadata):
		return coded("METADATA TOOMANY", err)
	}
	return err
}

// parseListMetadata is the return option METADATA of LIST (RFC 9590 section 3).
func parseListMetadata(d *wire.Decoder, r *listRequest) bool {
	want := metadataRequest{maxSize: -1}
	if !d.ExpectSP() || !expectEntries(d, &want.entries) {
		return false
	}
	r.extras = append(r.extras, func(c *conn, o owner, m *account.Mailbox) func(*conn, string) {
		if c.rights(o, m)&mayAnnotate == 0 {
			return nil
		}
		of := maps.Clone(c.metadataOf(o, m)) // which is small: what is found of it may name a thousand entries for each of many mailboxes.
		return func(c *conn, name string) {
			found, _ := want.find(of)
			c.sendMetadata(name, found)
		}
	})
	return true
}
