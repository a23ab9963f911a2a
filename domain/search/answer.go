package search

import (
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// Place says what a question is about.
type Place uint8

// The places. InFrom to InBcc stand in the order of List.
const (
	Anywhere  Place = iota // all header fields, the parts' included, and the body
	InBody                 // the body's text
	InField                // one field of the message's own header; an empty needle asks whether the field is there
	InSubject              // the decoded subject, as SubjectOf gives it
	InFrom                 // a list of addresses, as AddressesOf gives it
	InTo
	InCc
	InBcc
	SentOn // the day of the Date field, as SentDay gives it
)

// Question is a leaf of a query that only a message's Summary or text decides, or an index.
type Question struct {
	Where  Place
	Field  string // InField: its name in lower case
	Needle string // folded
	Days   Days   // SentOn
}

// Questions are what an index may be asked about this query.
func (q *Query) Questions() []Question { return q.questions }

// Answers are what an index knows about the messages of one account.
type Answers struct {
	// Next is the first email that the index has not come to yet, or does not take in. Except are those before it whose text it does not know
	// whole, rising.
	Next   domain.EmailID
	Except []domain.EmailID
	// Tx is how far the index has come in the account's log: it says nothing about messages that changed later, such as one that was restored with
	// the email that it had. 0 means that Next says all.
	Tx domain.Tx
	// To has an answer for each question.
	To []Answer
}

// Answer names the emails that a question may be true of. Of no other one that the index knows it is true.
type Answer struct {
	Known  bool // false: the index cannot tell, and Emails means nothing
	Exact  bool // it is true of all of them
	Emails []domain.EmailID
}

// Use has Judge decide by an index as well. Answers must be to this query's Questions; nil means none.
func (q *Query) Use(a *Answers) {
	q.answers = a
	if a != nil {
		for i := range a.To {
			slices.Sort(a.To[i].Emails)
		}
	}
}

// verdict answers question n about a message.
func (a *Answers) verdict(n int, row *account.Message) Verdict {
	email := row.Email
	if a == nil || n >= len(a.To) || !a.To[n].Known || email >= a.Next || a.Tx != 0 && row.Modified > a.Tx {
		return Unknown
	}
	if _, except := slices.BinarySearch(a.Except, email); except {
		return Unknown
	}
	switch _, among := slices.BinarySearch(a.To[n].Emails, email); {
	case !among:
		return No
	case a.To[n].Exact:
		return Yes
	}
	return Unknown
}
