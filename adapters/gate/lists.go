package gate

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
)

// ask asks one list about an address.
func (g *Gate) ask(ctx context.Context, list *admission.List, address []byte) admission.Finding {
	f := admission.Finding{List: list}
	answers, err := g.listed(ctx, list, address)
	result := "clear"
	switch {
	case err != nil:
		result = "failed"
		g.fails(list.Zone, err)
	case len(answers) > 0:
		result = "listed"
		f.Answers = answers
		if g.sum >= admission.RefuseAt && list.Score > 0 && !list.Allow { // Only refusals tell it.
			f.Text = g.text(ctx, list, address)
		}
	}
	if g.cfg.Listed != nil {
		g.cfg.Listed(list.Zone, result)
	}
	return f
}

// fails says that a list does not answer, of each once in a minute: every client asks all of them.
func (g *Gate) fails(zone string, err error) {
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if last, said := g.warned[zone]; said && now.Sub(last).Abs() < time.Minute {
		return
	}
	g.warned[zone] = now
	g.cfg.Logger.Warn("a list did not answer: nobody is refused for it; more of this is counted only, for a minute", "list", zone, "error", err)
}

// listed gives the answers of a list that count. Errors: domain.Unavailable when it did not answer.
func (g *Gate) listed(ctx context.Context, list *admission.List, address []byte) (counted [][4]byte, err error) {
	var all []string
	err = question(ctx, g.open, func() (err error) {
		all, err = g.cfg.Resolver.Values(ctx, admission.Question(address, list.Zone), "A")
		return err
	})
	if domain.Is(err, domain.NotFound) { // RFC 5782 section 2.1: there is no such name, so it is not listed.
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, text := range all[:min(len(all), g.cfg.Limits.Answers)] {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() && list.Counts(a.As4()) {
			counted = append(counted, a.As4())
		}
	}
	return counted, nil
}

// text is what a list says for people. There may be none.
func (g *Gate) text(ctx context.Context, list *admission.List, address []byte) string {
	ctx, cancel := context.WithTimeout(ctx, inPassing)
	defer cancel()
	var all []string
	err := question(ctx, g.open, func() (err error) {
		all, err = g.cfg.Resolver.TXT(ctx, admission.Question(address, list.Zone))
		return err
	})
	if err != nil || len(all) == 0 {
		return ""
	}
	return all[0]
}

// Health is what became of asking a list about the addresses by which it can be told whether it works.
type Health struct {
	Zone  string
	Wrong string // what is wrong with it; empty if nothing is
}

// Asks tells whether there are lists, and somebody to ask.
func (g *Gate) Asks() bool { return len(g.cfg.Lists) > 0 }

// Test asks every list about the addresses of which each has one and not the other (RFC 5782 section 5). A list of addresses of one family only is in order.
func (g *Gate) Test(ctx context.Context) []Health {
	all := make([]Health, len(g.cfg.Lists))
	var wg sync.WaitGroup
	for i := range g.cfg.Lists {
		wg.Go(func() { all[i] = g.test(ctx, &g.cfg.Lists[i]) })
	}
	wg.Wait()
	return all
}

func (g *Gate) test(ctx context.Context, list *admission.List) Health {
	h := Health{Zone: list.Zone}
	found := false
	for _, v6 := range []bool{false, true} {
		listed, clear := admission.TestPoints(v6)
		if answers, err := g.listed(ctx, list, clear); err != nil {
			h.Wrong = "it does not answer: " + err.Error()
			return h
		} else if len(answers) > 0 {
			h.Wrong = "it lists " + written(clear) + ", which no list has: it answers every question, and all mail would be refused"
			return h
		}
		answers, err := g.listed(ctx, list, listed)
		if err != nil {
			h.Wrong = "it does not answer: " + err.Error()
			return h
		}
		found = found || len(answers) > 0
	}
	if !found {
		h.Wrong = "it does not list 127.0.0.2, which every list has: there is no such list, it does not answer your name server, or its answers are not those that count"
	}
	return h
}
