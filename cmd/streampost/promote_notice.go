package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections/promotion"
)

// moved is what one order of promotion did, for the notice to administrators when it has ended.
type moved struct {
	From   string         `json:"from,omitempty"` // the node that the order was about; empty: it named accounts
	To     map[string]int `json:"to"`             // accounts by their new primary
	Sum    promotion.Sum  `json:"sum"`
	Failed []string       `json:"failed,omitempty"` // the first accounts that failed, and why
	Error  string         `json:"error,omitempty"`  // why it ended early
}

// toldFailures bounds the accounts in one notice.
const toldFailures = 20

// add counts an account.
func (m *moved) add(o promotion.Outcome) {
	switch o.Result() {
	case promotion.Promoted:
		if m.To == nil {
			m.To = map[string]int{}
		}
		m.To[o.Primary.Node]++
	case promotion.Failed:
		if len(m.Failed) < toldFailures {
			m.Failed = append(m.Failed, fmt.Sprintf("%s: %v", o.Account, o.Err))
		}
	}
}

// end notes the sum.
func (m *moved) end(sum promotion.Sum, err error) {
	if m.Sum = sum; err != nil {
		m.Error = err.Error()
	}
}

// notice makes one. cause is operator or failover.
func (m *moved) notice(cause string) notice {
	n := notice{Event: "promotion-ended", Failed: m.Sum.Failed, Subject: "Accounts have another primary", Details: m}
	if m.Sum.Promoted == 0 {
		n.Subject = "No account has another primary"
	}
	from := ""
	if m.From != "" {
		from = " of node " + m.From
	}
	n.Text = fmt.Sprintf("Promotion by %s of accounts%s: %d promoted, %d unchanged, %d failed.\n", cause, from, m.Sum.Promoted, m.Sum.Unchanged, m.Sum.Failed)
	for _, node := range slices.Sorted(maps.Keys(m.To)) {
		n.Text += fmt.Sprintf("\n  %d to node %s", m.To[node], node)
	}
	if len(m.Failed) > 0 {
		n.Text += "\n\nThese failed first:\n\n  " + strings.Join(m.Failed, "\n  ")
	}
	if m.Error != "" {
		n.Failed = max(n.Failed, 1)
		n.Text += "\n\nIt ended early: " + m.Error
	}
	return n
}

// quietly tells whether a failover that is tried again and again has nothing new to tell: nothing was promoted, and as many failed as before.
func (m *moved) quietly(before map[string]int) bool {
	last, again := before[m.From]
	before[m.From] = m.Sum.Failed
	return m.Sum.Promoted == 0 && (m.Sum.Failed == 0 || again && last == m.Sum.Failed)
}

// tellPromotions sends notices of promotions in the background, so that no promotion waits for it.
func (c *core) tellPromotions() func(notice) {
	waiting := make(chan notice, 100)
	c.group.Start(lifecycle.Part{Name: "notices of promotions", Run: func(ctx context.Context) error {
		for {
			select {
			case n := <-waiting:
				c.notify(ctx, n)
			case <-ctx.Done():
				return nil
			}
		}
	}})
	return func(n notice) {
		select {
		case waiting <- n:
		default: // whoever is told of a hundred others need not hear of this one
			c.log.Warn(n.Subject, "event", n.Event, "failed", n.Failed, "text", n.Text)
		}
	}
}
