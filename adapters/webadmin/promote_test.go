package webadmin_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/promotion"
)

// direct passes orders on as they are.
type direct struct{ *promotion.Promoter }

func (d direct) Promote(ctx context.Context, o promotion.Order, each func(promotion.Outcome), progress func(webadmin.Progress)) (promotion.Sum, error) {
	return d.Run(ctx, o, each)
}

// promoting posts an order and gives the items and the last line, or the error.
func promoting(t *testing.T, s http.Handler, order string) (items []webadmin.PromotedAccount, sum promotion.Sum, failure webadmin.Error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v1/replicas/promote", strings.NewReader(order))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil {
			t.Fatal(err)
		}
		return nil, sum, failure
	}
	for dec := json.NewDecoder(w.Body); ; {
		var line webadmin.Line
		if err := dec.Decode(&line); err == io.EOF {
			return items, sum, failure
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case line.Item != nil:
			var item webadmin.PromotedAccount
			if err := json.Unmarshal(line.Item, &item); err != nil {
				t.Fatal(err)
			}
			items = append(items, item)
		case line.Result != nil:
			if err := json.Unmarshal(line.Result, &sum); err != nil {
				t.Fatal(err)
			}
		case line.Error != nil:
			failure = *line.Error
		}
	}
}

// TestPromote: what cannot be done for anybody is refused before anything is done; what fails for one account is shown with it.
func TestPromote(t *testing.T) {
	n := doortest.Start(t)
	alice, bob := n.AddAccount(t, "alice@example.org", ""), n.AddAccount(t, "bob@example.org", "")
	s, err := webadmin.New(webadmin.Config{
		Tokens: webadmin.Tokens{All: token}, Logger: slog.New(slog.DiscardHandler),
		Backend: webadmin.Backend{Directory: n.Directory, Accounts: n.Accounts, Promotions: direct{promotion.New(n.Accounts, nil)}, Metrics: http.NotFoundHandler()},
	})
	if err != nil {
		t.Fatal(err)
	}
	for order, want := range map[string]int{
		`{}`:              http.StatusBadRequest,
		`{"to": "mail2"}`: http.StatusBadRequest,
		`{"accounts": ["alice@example.org", "nobody@example.org", "*@example.org"], "to": "mail2"}`: http.StatusNotFound,
		`{"accounts": ["alice@example.org"], "to": "mail2", "threads": 100000}`:                     http.StatusBadRequest,
	} {
		if items, _, failure := promoting(t, s, order); failure.StatusCode != want || items != nil {
			t.Errorf("%s gets %+v and %v", order, failure, items)
		}
	}
	items, sum, _ := promoting(t, s, `{"accounts": ["alice@example.org", "`+string(alice)+`"], "to": "mail2", "reason": "a test"}`)
	if len(items) != 1 || items[0] != (webadmin.PromotedAccount{Account: alice, Login: "alice@example.org", Outcome: "promoted", Node: "mail2", Epoch: 1}) || sum.Promoted != 1 {
		t.Errorf("%+v, %+v", items, sum)
	}
	n.Log.Before = func(id domain.AccountID, _ *event.Transaction) doortest.Fault {
		if id == bob {
			return doortest.LostKept
		}
		return doortest.None
	}
	items, sum, _ = promoting(t, s, `{"accounts": ["alice@example.org", "bob@example.org"], "to": "mail2"}`)
	if want := (promotion.Sum{Unchanged: 1, Failed: 1}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
	for _, item := range items {
		if (item.Account == bob) != (item.Outcome == "failed" && item.Error != nil && item.Error.StatusCode == http.StatusServiceUnavailable) {
			t.Errorf("%+v", item)
		}
	}
}
