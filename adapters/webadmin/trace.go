package webadmin

import (
	"net/http"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/trace"
)

// traceRoutes are about what became of a message.
var traceRoutes = []Route{
	{Pattern: "GET /v1/trace", Answer: []TraceStep{}, serve: (*Server).trace, Summary: "Tell what became of a message: every step, in the order of time",
		Query: []Query{{"messageId", "Its Message-ID, with or without the angle brackets"}}},
}

// TraceStep is a step, with the names that its account and mailbox have now.
type TraceStep struct {
	trace.Record
	AccountName string `json:"accountName,omitempty"`
	MailboxName string `json:"mailboxName,omitempty"`
}

func (s *Server) trace(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("messageId")
	if trace.Normal(id) == "" {
		return domain.Errorf(domain.Invalid, "say which message, by messageId")
	}
	if s.b.Trace == nil {
		return &domain.Error{Kind: domain.Unavailable, Msg: "messages are not traced here", Hint: "set trace.keep to how long their steps are to be known"}
	}
	all, err := s.b.Trace(r.Context(), id)
	if err != nil {
		return err
	}
	steps := make([]TraceStep, len(all))
	for n, record := range all {
		steps[n].Record = record
		if record.Account == "" {
			continue
		}
		if found, err := s.b.Directory.Lookup(r.Context(), string(record.Account)); err == nil {
			steps[n].AccountName = found.Login
		}
		_ = s.b.Accounts.View(r.Context(), record.Account, func(state *account.State) error { // What is gone has no name any more.
			if m := state.Mailboxes[record.Mailbox]; m != nil {
				steps[n].MailboxName = m.Name
			}
			return nil
		})
	}
	writeJSON(w, http.StatusOK, steps)
	return nil
}
