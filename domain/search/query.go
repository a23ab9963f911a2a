package search

import (
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
)

// Verdict is what is known about a message and a query. The order makes And the minimum, Or the maximum and Not the negative
// (Kleene's three-valued logic).
type Verdict int8

// The verdicts.
const (
	No      Verdict = -1
	Unknown Verdict = 0 // what the Candidate holds does not decide
	Yes     Verdict = 1
)

func verdict(yes bool) Verdict {
	if yes {
		return Yes
	}
	return No
}

// Candidate is as much of a message as is known so far.
type Candidate struct {
	Row     account.Message
	Summary *message.Summary // nil until stage 2

	found []bool // stage 3, one for each text of the query; nil until Query.Read
}

// Query is a search ready to run against the messages of one account.
type Query struct {
	root  test
	texts []text
}

// test judges one candidate.
type test func(c *Candidate) Verdict

// text is one string to be looked for in stage 3.
type text struct {
	field  string // Header: the field's name in lower case
	where  place
	needle []byte // folded; empty matches anything that is there
}

// place says what a text is looked for in.
type place uint8

const (
	inField  place = iota // one field of the header
	inBody                // the body's text
	inHeader              // all fields, the parts' included
)

// Compile binds a search to an account: its keywords must be known to tell a flag's bit. The Query is good for as long as no keyword is
// created, which is at least one View.
func Compile(k Key, s *account.State) *Query {
	q := new(Query)
	q.root = q.compile(k, s)
	return q
}

// Judge says as much as the candidate's content allows.
func (q *Query) Judge(c *Candidate) Verdict { return q.root(c) }

// Texts reports whether stage 3 exists at all.
func (q *Query) Texts() bool { return len(q.texts) > 0 }

func (q *Query) compile(k Key, s *account.State) test {
	switch k := k.(type) {
	case All:
		return func(*Candidate) Verdict { return Yes }
	case And:
		return join(q.compileAll(k, s), Yes, No)
	case Or:
		return join(q.compileAll(k, s), No, Yes)
	case Not:
		inner := q.compile(k.Key, s)
		return func(c *Candidate) Verdict { return -inner(c) }
	case Flag:
		flag, known := account.SystemFlag(k.Name)
		if !known {
			flag, known = s.Keyword(k.Name)
		}
		if !known {
			flag = 0 // on no message
		}
		return func(c *Candidate) Verdict { return verdict(c.Row.Flags&flag != 0) }
	case UIDs:
		return q.uids(k.Set)
	case Internal:
		return func(c *Candidate) Verdict { return verdict(Days(k).has(DayOf(c.Row.Internal))) }
	case Saved:
		return func(c *Candidate) Verdict { return verdict(Days(k).has(DayOf(c.Row.Saved))) }
	case Within:
		return func(c *Candidate) Verdict { return verdict(k.From <= c.Row.Internal && c.Row.Internal < k.To) }
	case Larger:
		return func(c *Candidate) Verdict { return verdict(c.Row.Size > k.Octets) }
	case Smaller:
		return func(c *Candidate) Verdict { return verdict(c.Row.Size < k.Octets) }
	case Modified:
		return func(c *Candidate) Verdict { return verdict(c.Row.Modified >= k.Since) }
	case EmailID:
		return func(c *Candidate) Verdict { return verdict(c.Row.Email == k.ID) }
	case ThreadID:
		return func(c *Candidate) Verdict { return verdict(c.Row.Thread == k.ID) }
	case Sent:
		return summary(func(s *message.Summary) bool {
			day, dated := sentDay(s)
			return dated && Days(k).has(day)
		})
	case Subject:
		needle := Fold(k.Text)
		return summary(func(s *message.Summary) bool {
			return s.Envelope.Has&message.HasSubject != 0 && contains(message.DecodeWords(s.Envelope.Subject), needle)
		})
	case Address:
		needle := Fold(k.Text)
		return summary(func(s *message.Summary) bool {
			list := addresses(&s.Envelope, k.In)
			return len(list) > 0 && contains(spell(list), needle)
		})
	case Header:
		return q.text(text{strings.ToLower(k.Field), inField, Fold(k.Text)})
	case Body:
		return q.text(text{"", inBody, Fold(k.Text)})
	case Text:
		needle := Fold(k.Text)
		return join([]test{q.text(text{"", inHeader, needle}), q.text(text{"", inBody, needle})}, No, Yes)
	}
	return func(*Candidate) Verdict { return No } // None
}

func (q *Query) compileAll(keys []Key, s *account.State) []test {
	all := make([]test, len(keys))
	for i, k := range keys {
		all[i] = q.compile(k, s)
	}
	return all
}

// join joins tests from a start value on, until one of them gives the value that decides.
func join(all []test, start, decides Verdict) test {
	if len(all) == 1 {
		return all[0]
	}
	return func(c *Candidate) Verdict {
		v := start
		for _, t := range all {
			switch t(c) {
			case decides:
				return decides
			case Unknown:
				v = Unknown
			}
		}
		return v
	}
}

// uids tests membership. Messages come in rising order, so the range that held the last one is tried first.
func (q *Query) uids(set domain.UIDSet) test {
	at := 0
	return func(c *Candidate) Verdict {
		uid := c.Row.UID
		if at < len(set) && set[at].Lo <= uid && uid <= set[at].Hi {
			return Yes
		}
		if at+1 < len(set) && set[at].Hi < uid && uid < set[at+1].Lo {
			return No
		}
		if at+1 < len(set) && set[at+1].Lo <= uid && uid <= set[at+1].Hi {
			at++
			return Yes
		}
		return verdict(set.Contains(uid))
	}
}

// summary makes a test of stage 2.
func summary(f func(s *message.Summary) bool) test {
	return func(c *Candidate) Verdict {
		if c.Summary == nil {
			return Unknown
		}
		return verdict(f(c.Summary))
	}
}

// text makes a test of stage 3. A text that is asked for twice is looked for once.
func (q *Query) text(wanted text) test {
	n := 0
	for n < len(q.texts) && !(q.texts[n].field == wanted.field && q.texts[n].where == wanted.where && string(q.texts[n].needle) == string(wanted.needle)) {
		n++
	}
	if n == len(q.texts) {
		q.texts = append(q.texts, wanted)
	}
	return func(c *Candidate) Verdict {
		if c.found == nil {
			return Unknown
		}
		return verdict(c.found[n])
	}
}

func addresses(e *message.Envelope, in List) []message.Address {
	return [...][]message.Address{e.From, e.To, e.Cc, e.Bcc}[in]
}

// spell writes addresses as a header shows them, names decoded.
func spell(list []message.Address) string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case a.Host == "": // the name of a group, or its end
			b.WriteString(message.DecodeWords(a.Mailbox))
		case a.Name == "":
			b.WriteString(a.Mailbox + "@" + a.Host)
		default:
			b.WriteString(message.DecodeWords(a.Name) + " <" + a.Mailbox + "@" + a.Host + ">")
		}
	}
	return b.String()
}

// Columns is the first stage over a whole mailbox: it calls f with the verdict on each of the given messages that the mailbox has, in rising
// order.
func (q *Query) Columns(m *account.Mailbox, uids []domain.UID, f func(row account.Message, v Verdict)) {
	var c Candidate
	i := 0
	for _, uid := range uids {
		for i < len(m.UID) && m.UID[i] < uid {
			i++
		}
		if i == len(m.UID) {
			return
		}
		if m.UID[i] == uid {
			c.Row = m.At(i)
			f(c.Row, q.root(&c))
		}
	}
}
