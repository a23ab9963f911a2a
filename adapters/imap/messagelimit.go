package imap

import (
	"context"
	"slices"
	"strconv"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/search"
)

// MESSAGELIMIT and SAVELIMIT (RFC 9738): how many messages a command may name. Clients that know the extension keep to what is advertised. Those that do not
// cannot be told from them, and would take what is cut off for what is not there; so the limit that is enforced is another one, higher or none (section 4.2).
// A limited command works on the messages with the highest UIDs. SORT and THREAD are not limited: they run on what is kept in memory anyway.

func init() {
	advertise("MESSAGELIMIT", func(c *conn) bool { return c.state() != notAuthenticated && c.server.cfg.MessageLimit.Messages > 0 })
	advertise("SAVELIMIT", func(c *conn) bool { return c.state() != notAuthenticated && c.server.cfg.MessageLimit.Saved > 0 })
	uidKey := func(p *searchParser) (uid domain.UID, ok bool) { // section 5: uniqueid
		var n uint32
		ok = p.d.ExpectSP() && (p.d.Number(&n) || p.d.Fail(wire.Syntaxf("a UID is missing")))
		return domain.UID(n), ok && (n > 0 || p.d.Fail(wire.Syntaxf("a UID is not 0")))
	}
	searches("MESSAGELIMIT", "UIDAFTER", func(p *searchParser) (search.Key, bool) { // section 3.2.
		uid, ok := uidKey(p)
		if uid == domain.AllUIDs.Hi {
			return search.None{}, ok
		}
		return search.UIDs{Set: domain.UIDSet{{Lo: uid + 1, Hi: domain.AllUIDs.Hi}}}, ok
	})
	searches("MESSAGELIMIT", "UIDBEFORE", func(p *searchParser) (search.Key, bool) {
		uid, ok := uidKey(p)
		if uid <= 1 {
			return search.None{}, ok
		}
		return search.UIDs{Set: domain.UIDSet{{Lo: 1, Hi: uid - 1}}}, ok
	})
}

// MessageLimit configures RFC 9738. Messages and Saved exclude each other, since section 3 knows SAVELIMIT instead of MESSAGELIMIT.
type MessageLimit struct {
	Messages int // advertised for every command; 0: MESSAGELIMIT is not offered
	Saved    int // advertised for COPY and APPEND only; 0: SAVELIMIT is not offered
	Enforced int // from which number on commands are cut short or refused; 0: none
}

// cut is what the limit left of the messages that a command names.
type cut struct {
	limit  int        // 0 where nothing was cut off
	lowest domain.UID // of those that are left
}

// code is the response code (section 5).
func (t cut) code() string {
	code := "MESSAGELIMIT " + strconv.Itoa(t.limit)
	if t.lowest > 0 {
		code += " " + strconv.FormatUint(uint64(t.lowest), 10)
	}
	return code
}

// refused is the NO of a command that does all or nothing.
func (t cut) refused() error {
	return coded(t.code(), domain.Errorf(domain.TooLarge, "at most %d messages: try a smaller set", t.limit))
}

// messageLimit is the limit that holds for this client's next command; 0 for none. saves tells that it is COPY or APPEND.
func (c *conn) messageLimit(saves bool) int {
	cfg := c.server.cfg.MessageLimit
	if cfg.Messages > 0 && !c.without["MESSAGELIMIT"] || saves && cfg.Saved > 0 && !c.without["SAVELIMIT"] {
		return cfg.Enforced
	}
	return 0
}

// limited leaves those messages of the view that have the highest UIDs of a set.
func (c *conn) limited(set domain.UIDSet, limit int) (domain.UIDSet, cut) {
	if limit == 0 {
		return set, cut{}
	}
	uids := c.sel.uids
	left, lowest := limit, domain.UID(0)
	for i, r := range slices.Backward(set) {
		first, _ := slices.BinarySearch(uids, r.Lo)
		end, found := slices.BinarySearch(uids, r.Hi)
		if found {
			end++
		}
		if end-first > left {
			rest := slices.Clone(set[i+1:])
			if left > 0 {
				lowest = uids[end-left]
				rest = slices.Insert(rest, 0, domain.UIDRange{Lo: lowest, Hi: r.Hi})
			}
			return rest, cut{limit, lowest}
		}
		if left -= end - first; end > first {
			lowest = uids[first]
		}
	}
	return set, cut{}
}

// tellLimit says that a command was cut short: in its OK, or before it where that has another code (section 3.1).
func (c *conn) tellLimit(cmd *command, t cut) {
	if t.limit == 0 {
		return
	}
	text := "done for the last " + strconv.Itoa(t.limit) + " messages"
	if cmd.code != "" {
		c.status("*", "NO", t.code(), text)
		return
	}
	cmd.ok(t.code(), text)
}

// limitSearch leaves of the messages that a search looks at, those whose UIDs it names or all, those with the highest UIDs.
func (c *conn) limitSearch(r *searchRequest) cut {
	limit := c.messageLimit(false)
	if limit == 0 || r.update {
		return cut{}
	}
	set := domain.UIDSet{domain.AllUIDs}
	keys, all := r.key.(search.And)
	if !all {
		keys = search.And{r.key}
	}
	for _, key := range keys {
		if named, is := key.(search.UIDs); is {
			set = set.Intersect(named.Set)
		}
	}
	set, t := c.limited(set, limit)
	if t.limit > 0 {
		among := picker{uids: c.sel.uids, set: set}
		r.among = []domain.UID{}
		for i := among.next(); i < len(c.sel.uids); i = among.next() {
			r.among = append(r.among, c.sel.uids[i])
		}
	}
	return t
}

// expungeLimited is UID EXPUNGE, of which those messages count that are marked as \Deleted. EXPUNGE and CLOSE have no limit (section 3.1).
func (c *conn) expungeLimited(ctx context.Context, wish account.Expunge, limit int) (t cut, err error) {
	_, err = c.doOn(ctx, c.sel.owner, func(s *account.State) (account.Command, error) {
		t = cut{}
		m, ok := s.Mailboxes[wish.Mailbox]
		if limit == 0 || !ok {
			return wish, nil
		}
		var marked []domain.UID
		m.Each(wish.UIDs, func(i int) {
			if m.Flags[i]&event.Deleted != 0 {
				marked = append(marked, m.UID[i])
			}
		})
		if len(marked) <= limit {
			return wish, nil
		}
		marked = marked[len(marked)-limit:]
		t = cut{limit, marked[0]}
		few := wish
		few.UIDs = domain.UIDs(marked...)
		return few, nil
	})
	return t, err
}
