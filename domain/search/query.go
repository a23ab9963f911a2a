package search

import (
	"iter"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/text"
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
	// Extracts gives what an extractor found in the message's attachments: text of its body beside that which Read finds itself. nil: nothing.
	Extracts func() (iter.Seq[string], error)

	found []bool // stage 3, one for each question of the query; nil until Query.Read
}

// Query is a search ready to run against the messages of one account.
type Query struct {
	root      test
	questions []Question
	texts     bool       // some of them are of stage 3
	newest    domain.UID // of the mailbox
	answers   *Answers
}

// test judges one candidate.
type test func(c *Candidate) Verdict

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
func (q *Query) Texts() bool { return q.texts }

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
	case Fuzzy:
		return q.compile(farthest.Within(k), s)
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
	case Newest:
		return func(c *Candidate) Verdict { return verdict(c.Row.UID == q.newest) }
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
		return q.summary(Question{Where: SentOn, Days: Days(k)}, func(s *message.Summary) bool {
			day, dated := SentDay(s)
			return dated && Days(k).has(day)
		})
	case Subject:
		needle := string(Fold(k.Text))
		return q.summary(Question{Where: InSubject, Needle: needle}, func(s *message.Summary) bool {
			subject, is := SubjectOf(s)
			return is && contains(subject, needle)
		})
	case Address:
		needle := string(Fold(k.Text))
		return q.summary(Question{Where: InFrom + Place(k.In), Needle: needle}, func(s *message.Summary) bool {
			list, is := AddressesOf(s, k.In)
			return is && contains(list, needle)
		})
	case Header:
		return q.text(Question{Where: InField, Field: strings.ToLower(k.Field), Needle: string(Fold(k.Text))})
	case Body:
		return q.text(Question{Where: InBody, Needle: string(Fold(k.Text))})
	case Text:
		return q.text(Question{Where: Anywhere, Needle: string(Fold(k.Text))})
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

// ask gives a question its number. What is asked twice is answered once.
func (q *Query) ask(question Question) int {
	n := slices.Index(q.questions, question)
	if n < 0 {
		n = len(q.questions)
		q.questions = append(q.questions, question)
	}
	return n
}

// summary makes a test of stage 2.
func (q *Query) summary(question Question, f func(s *message.Summary) bool) test {
	n := q.ask(question)
	return func(c *Candidate) Verdict {
		if c.Summary == nil {
			return q.answers.verdict(n, &c.Row)
		}
		return verdict(f(c.Summary))
	}
}

// text makes a test of stage 3.
func (q *Query) text(question Question) test {
	n := q.ask(question)
	q.texts = true
	return func(c *Candidate) Verdict {
		if c.found == nil {
			return q.answers.verdict(n, &c.Row)
		}
		return verdict(c.found[n])
	}
}

// SubjectOf gives the decoded subject, and whether there is one.
func SubjectOf(s *message.Summary) (string, bool) {
	return message.DecodeWords(s.Envelope.Subject), s.Envelope.Has&message.HasSubject != 0
}

// AddressesOf writes a list of the envelope as a header shows it, names decoded, and tells whether it holds any.
func AddressesOf(s *message.Summary, in List) (string, bool) {
	list := [...][]message.Address{s.Envelope.From, s.Envelope.To, s.Envelope.Cc, s.Envelope.Bcc}[in]
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(text.Spell(a))
	}
	return b.String(), len(list) > 0
}

// Columns is the first stage over a whole mailbox: it calls f with the verdict on each of the given messages that the mailbox has, in rising
// order.
func (q *Query) Columns(m *account.Mailbox, uids []domain.UID, f func(row account.Message, v Verdict)) {
	var c Candidate
	i := 0
	if n := len(m.UID); n > 0 {
		q.newest = m.UID[n-1]
	}
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
