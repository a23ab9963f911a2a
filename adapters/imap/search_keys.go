package imap

import (
	"io"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/search"
)

// searchKey is an entry of the table of keys.
type searchKey struct {
	parse      func(p *searchParser) (search.Key, bool)
	capability string // that brings it; empty for the base protocol
}

// searchKeys are the keys by name. Extensions add theirs from init.
var searchKeys = map[string]searchKey{}

func searches(capability, name string, parse func(p *searchParser) (search.Key, bool)) {
	searchKeys[name] = searchKey{parse, capability}
}

func init() {
	constant := func(name string, k search.Key) {
		searches("", name, func(*searchParser) (search.Key, bool) { return k, true })
	}
	constant("ALL", search.All{})
	for name, flag := range map[string]string{"ANSWERED": `\Answered`, "DELETED": `\Deleted`, "DRAFT": `\Draft`, "FLAGGED": `\Flagged`, "SEEN": `\Seen`} {
		constant(name, search.Flag{Name: flag})
		constant("UN"+name, search.Not{Key: search.Flag{Name: flag}})
	}
	searches("", "KEYWORD", func(p *searchParser) (search.Key, bool) {
		var name string
		ok := p.d.ExpectSP() && p.d.ExpectFlag(&name)
		return search.Flag{Name: name}, ok
	})
	searches("", "UNKEYWORD", func(p *searchParser) (search.Key, bool) {
		var name string
		ok := p.d.ExpectSP() && p.d.ExpectFlag(&name)
		return search.Not{Key: search.Flag{Name: name}}, ok
	})
	// RFC 3501 section 6.4.4; IMAP4rev2 has no \Recent.
	recent := func(p *searchParser) search.Key {
		if p.sel == nil {
			return search.None{}
		}
		return search.UIDs{Set: p.sel.recent}
	}
	searches("", "RECENT", func(p *searchParser) (search.Key, bool) { return recent(p), true })
	searches("", "OLD", func(p *searchParser) (search.Key, bool) { return search.Not{Key: recent(p)}, true })
	searches("", "NEW", func(p *searchParser) (search.Key, bool) {
		return search.And{recent(p), search.Not{Key: search.Flag{Name: `\Seen`}}}, true
	})

	text := func(name string, key func(text string) search.Key) {
		searches("", name, func(p *searchParser) (search.Key, bool) {
			s, ok := p.text()
			return key(s), ok
		})
	}
	for name, in := range map[string]search.List{"FROM": search.From, "TO": search.To, "CC": search.Cc, "BCC": search.Bcc} {
		text(name, func(s string) search.Key { return search.Address{In: in, Text: s} })
	}
	text("SUBJECT", func(s string) search.Key { return search.Subject{Text: s} })
	text("BODY", func(s string) search.Key { return search.Body{Text: s} })
	text("TEXT", func(s string) search.Key { return search.Text{Text: s} })
	searches("", "HEADER", func(p *searchParser) (search.Key, bool) {
		var field string
		if !p.d.ExpectSP() || !p.d.ExpectAString(&field) {
			return nil, false
		}
		s, ok := p.text()
		return search.Header{Field: strings.TrimSuffix(field, ":"), Text: s}, ok
	})

	dates("", "", func(d search.Days) search.Key { return search.Internal(d) })
	dates("", "SENT", func(d search.Days) search.Key { return search.Sent(d) })
	dates("SAVEDATE", "SAVED", func(d search.Days) search.Key { return search.Saved(d) }) // RFC 8514 section 4.3.
	searches("SAVEDATE", "SAVEDATESUPPORTED", func(*searchParser) (search.Key, bool) { return search.All{}, true })

	searches("", "LARGER", func(p *searchParser) (search.Key, bool) {
		n, ok := p.number()
		return search.Larger{Octets: n}, ok
	})
	searches("", "SMALLER", func(p *searchParser) (search.Key, bool) {
		n, ok := p.number()
		return search.Smaller{Octets: n}, ok
	})

	// RFC 5032 section 3: intervals are in seconds and count back from now.
	advertise("WITHIN", whenAuthenticated)
	searches("WITHIN", "OLDER", func(p *searchParser) (search.Key, bool) {
		n, ok := p.interval()
		return search.Within{From: -1 << 62, To: p.c.now() - n + 1}, ok
	})
	searches("WITHIN", "YOUNGER", func(p *searchParser) (search.Key, bool) {
		n, ok := p.interval()
		return search.Within{From: p.c.now() - n, To: 1 << 62}, ok
	})

	searches("", "UID", func(p *searchParser) (search.Key, bool) {
		var set wire.NumSet
		if !p.d.ExpectSP() || !p.d.ExpectNumSet(&set) {
			return nil, false
		}
		if p.sel == nil && !set.Saved { // "*" is another message in each mailbox.
			key := search.Or{search.UIDs{Set: set.Resolve(domain.AllUIDs.Hi)}}
			if set.Dynamic() {
				key = append(key, search.Newest{})
			}
			return key, true
		}
		uids, err := p.resolve(set, true)
		return search.UIDs{Set: uids}, err == nil || p.d.Fail(err)
	})
	searches("", "NOT", func(p *searchParser) (search.Key, bool) {
		if !p.d.ExpectSP() {
			return nil, false
		}
		inner, ok := p.key()
		return search.Not{Key: inner}, ok
	})
	searches("", "OR", func(p *searchParser) (search.Key, bool) {
		var either [2]search.Key
		for i := range either {
			var ok bool
			if !p.d.ExpectSP() {
				return nil, false
			}
			if either[i], ok = p.key(); !ok {
				return nil, false
			}
		}
		return search.Or(either[:]), true
	})
}

// dates registers BEFORE, ON and SINCE with a prefix.
func dates(capability, prefix string, key func(search.Days) search.Key) {
	register := func(name string, days func(day search.Day) search.Days) {
		searches(capability, prefix+name, func(p *searchParser) (search.Key, bool) {
			var t time.Time
			ok := p.d.ExpectSP() && p.d.ExpectDate(&t)
			return key(days(search.DayOf(t.Unix()))), ok
		})
	}
	register("BEFORE", func(day search.Day) search.Days { return search.Days{From: search.Ever, To: day} })
	register("ON", func(day search.Day) search.Days { return search.Days{From: day, To: day + 1} })
	register("SINCE", func(day search.Day) search.Days { return search.Days{From: day, To: search.Never} })
}

// searchParser reads search keys. An error stays in the Decoder.
type searchParser struct {
	c       *conn
	d       *wire.Decoder
	sel     *selected // nil when other mailboxes than the selected one are searched
	fuzzy   int       // texts that are looked for fuzzily
	charset string    // of the strings; empty means UTF-8, which US-ASCII is a part of
}

// keys reads one or more keys, all of which must match.
func (p *searchParser) keys() (search.Key, bool) {
	var all search.And
	for {
		k, ok := p.key()
		if !ok {
			return nil, false
		}
		all = append(all, k)
		if !p.d.SP() {
			break
		}
	}
	if p.d.Err() != nil {
		return nil, false
	}
	if len(all) == 1 {
		return all[0], true
	}
	return all, true
}

// key reads one key.
func (p *searchParser) key() (search.Key, bool) {
	d := p.d
	if !d.Nest() || !d.Item() {
		return nil, false
	}
	defer d.Unnest()
	if d.Special('(') {
		all, ok := p.keys()
		return all, ok && d.ExpectSpecial(')')
	}
	var set wire.NumSet
	if d.NumSet(&set) {
		uids, err := p.numbers(set)
		return search.UIDs{Set: uids}, err == nil || d.Fail(err)
	}
	var name string
	if !d.ExpectName(&name) {
		return nil, false
	}
	known, found := searchKeys[name]
	if !found || p.c.without[known.capability] {
		return nil, d.Fail(wire.Syntaxf("unknown search key %s", name))
	}
	k, ok := known.parse(p)
	return k, ok && d.Err() == nil
}

// numbers turns sequence numbers into UIDs. A number that no message has matches none: clients ask for ranges beyond the end.
func (p *searchParser) numbers(set wire.NumSet) (domain.UIDSet, error) {
	if p.c.uidonly && !set.Saved {
		return nil, uidRequired()
	}
	p.c.numbered = true // RFC 7162 section 3.2.10.2: then not even UID SEARCH may tell of expunges.
	if !set.Saved && p.sel != nil {
		last := domain.UID(len(p.sel.uids))
		set = wire.NumSetOf(upTo(set.Resolve(last), last))
	}
	return p.resolve(set, false)
}

// resolve gives the UIDs of what a session has a name for.
func (p *searchParser) resolve(set wire.NumSet, uid bool) (domain.UIDSet, error) {
	if p.sel == nil { // RFC 7377 section 2.1: in other mailboxes nobody has numbered the messages.
		return nil, wire.Syntaxf("sequence numbers and $ are those of the selected mailbox")
	}
	return p.sel.resolve(set, uid)
}

// text reads a string and gives it in UTF-8.
func (p *searchParser) text() (string, bool) {
	var s string
	if !p.d.ExpectSP() || !p.d.ExpectAString(&s) {
		return "", false
	}
	r, _ := message.CharsetReader(p.charset, strings.NewReader(s))
	decoded, err := io.ReadAll(r)
	if err != nil {
		return "", p.d.Fail(wire.Syntaxf("the search string is not in its charset"))
	}
	return string(decoded), true
}

func (p *searchParser) number() (n int64, ok bool) {
	ok = p.d.ExpectSP() && p.d.ExpectNumber64(&n)
	return n, ok
}

// interval reads a number of seconds above 0.
func (p *searchParser) interval() (int64, bool) {
	var n uint32
	if !p.d.ExpectSP() || !p.d.ExpectNumber(&n) {
		return 0, false
	}
	return int64(n), n > 0 || p.d.Fail(wire.Syntaxf("an interval has at least one second"))
}

// searchCharsets is what BADCHARSET offers (RFC 9051 section 7.1): the usual ones of all that are understood.
const searchCharsets = "US-ASCII UTF-8 ISO-8859-1 ISO-8859-2 ISO-8859-15 WINDOWS-1251 WINDOWS-1252 KOI8-R ISO-2022-JP SHIFT_JIS EUC-JP GB18030 BIG5 EUC-KR"

// parseCharset reads the charset of the strings and the space behind it.
func (p *searchParser) parseCharset() error {
	if !p.d.ExpectAString(&p.charset) || !p.d.ExpectSP() {
		return p.d.Err()
	}
	if !message.KnownCharset(p.charset) {
		return coded("BADCHARSET ("+searchCharsets+")", domain.Errorf(domain.Invalid, "the charset is unknown"))
	}
	return nil
}
