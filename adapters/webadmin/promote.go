package webadmin

import (
	"context"
	"net/http"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/promotion"
)

// Promotions gives accounts another primary node; see promotion.Promoter.
type Promotions interface {
	// Promote also takes an order that names no accounts, which is about all accounts of the node From. What cannot be done for any account, such as going
	// to a node that is not there, is an error before anything is done.
	Promote(ctx context.Context, order promotion.Order, each func(promotion.Outcome), progress func(Progress)) (promotion.Sum, error)
}

var promotionRoutes = []Route{
	{Pattern: "POST /v1/replicas/promote", Streams: true, Body: Promotion{}, serve: (*Server).promote,
		Summary: "Give accounts another primary node; an item for each account, then how many were promoted, unchanged and failed"},
}

// Promotion is the body of POST /v1/replicas/promote.
type Promotion struct {
	Accounts []string `json:"accounts,omitempty"` // addresses or ids
	From     string   `json:"from,omitempty"`     // without accounts: all of which this node is the primary, also when it is dead; with accounts: those of them
	To       string   `json:"to,omitempty"`       // a node; empty: the best candidate of each account
	Threads  int      `json:"threads,omitempty"`  // accounts at a time
	Reason   string   `json:"reason,omitempty"`   // kept in the log
}

// PromotedAccount is what became of one account.
type PromotedAccount struct {
	Account domain.AccountID `json:"account"`
	Login   string           `json:"login,omitempty"`
	Outcome promotion.Result `json:"outcome"`
	From    string           `json:"from,omitempty"` // the primary before
	Node    string           `json:"node,omitempty"` // the primary now
	Epoch   uint64           `json:"epoch"`
	Error   *Error           `json:"error,omitempty"`
}

func (s *Server) promote(w http.ResponseWriter, r *http.Request) error {
	if s.b.Promotions == nil {
		return ErrAlone
	}
	var body Promotion
	if err := readJSON(r, &body); err != nil {
		return err
	}
	order := promotion.Order{From: body.From, To: body.To, Threads: body.Threads, Reason: body.Reason, Actor: actor}
	logins, err := s.promoted(r.Context(), &body, &order)
	if err != nil {
		return err
	}
	out := s.lines(w, r)
	sum, err := s.b.Promotions.Promote(out.ctx, order, func(o promotion.Outcome) {
		shown := PromotedAccount{Account: o.Account, Login: logins[o.Account], Outcome: o.Result(), From: o.Before.Node, Node: o.Primary.Node, Epoch: o.Primary.Epoch}
		if o.Err != nil {
			failure := s.explain(r, o.Err)
			shown.Error = &failure
		}
		_ = out.item(shown) // the context ends when the client has gone
	}, out.progress)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

// shownNames is how many unknown names an error lists.
const shownNames = 10

// promoted finds the accounts that an order names, each once, and what they are called. It refuses the order as a whole when a name means nothing.
func (s *Server) promoted(ctx context.Context, body *Promotion, order *promotion.Order) (logins map[domain.AccountID]string, err error) {
	switch {
	case len(body.Accounts) == 0 && body.From == "":
		return nil, domain.Errorf(domain.Invalid, "it is not said what to promote: name accounts, or the node whose accounts they are")
	case body.Threads < 0 || body.Threads > promotion.MaxThreads:
		return nil, domain.Errorf(domain.Invalid, "threads are 1 to %d", promotion.MaxThreads)
	}
	list, err := s.b.Directory.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	logins = make(map[domain.AccountID]string, len(list))
	for _, a := range list {
		logins[a.ID] = a.Login
	}
	var unknown []string
	named := map[domain.AccountID]bool{}
	for _, name := range body.Accounts {
		found, err := s.find(ctx, name)
		switch {
		case domain.Is(err, domain.NotFound):
			unknown = append(unknown, name)
		case err != nil:
			return nil, err
		case !named[found.ID]:
			named[found.ID] = true
			order.Accounts = append(order.Accounts, found.ID)
		}
	}
	if len(unknown) > 0 {
		more := ""
		if len(unknown) > shownNames {
			unknown, more = unknown[:shownNames], " and others"
		}
		return nil, domain.Errorf(domain.NotFound, "nothing was promoted, since there are no such accounts: %s%s", strings.Join(unknown, ", "), more)
	}
	return logins, nil
}
