package event

import "github.com/streampost/streampost/domain"

// MessageRestored is a message that the account had before and that came back into a mailbox. It says what MessageAdded says, of an email that
// is known already: Email and Thread are those it had, so EMAILID and THREADID stay (RFC 8474 section 5.1). It is an event of its own, so that
// a version which takes every email id for a new one refuses it instead of stumbling.
type MessageRestored MessageAdded

func (e *MessageRestored) fields(c *coder) { (*MessageAdded)(e).fields(c) }

// Arrival gives what came into a mailbox from outside, for the first time or again; nil for any other event.
func Arrival(e Event) *MessageAdded {
	switch e := e.(type) {
	case *MessageAdded:
		return e
	case *MessageRestored:
		return (*MessageAdded)(e)
	}
	return nil
}

// MessagesPurged gives up emails that no mailbox holds any more: they can no longer be restored, and the account's claim on their blobs ends.
// Emails rises strictly.
type MessagesPurged struct {
	Emails []domain.EmailID `json:"emails"`
}

func (e *MessagesPurged) fields(c *coder) { uints(c, 1, &e.Emails) }
