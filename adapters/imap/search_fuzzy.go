package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/domain/sorting"
)

// SEARCH=FUZZY (RFC 6203). What comes close to a text is in package search; here messages get their scores, by searches that are less and less strict.

func init() {
	advertise("SEARCH=FUZZY", whenAuthenticated)
	searches("SEARCH=FUZZY", "FUZZY", func(p *searchParser) (search.Key, bool) {
		if !p.d.ExpectSP() {
			return nil, false
		}
		inner, ok := p.key()
		if !ok {
			return nil, false
		}
		if p.fuzzy += search.Texts(inner); p.fuzzy > maxFuzzy { // RFC 6203 section 8: resources of a single search may be limited.
			return nil, p.d.Fail(&wire.SyntaxError{Code: "LIMIT", Text: "a search has too many fuzzy texts"})
		}
		return search.Fuzzy{Key: inner}, true
	})
	returns("RELEVANCY", func(_ *conn, _ *wire.Decoder, r *searchRequest) bool {
		r.relevancy, r.nothing = true, true
		return true
	}, "SEARCH=FUZZY")
	sortKeys["RELEVANCY"] = sortKey{sorting.Relevancy, "SEARCH=FUZZY"}
}

// maxFuzzy bounds the texts of one search that are looked for fuzzily. Each becomes some hundred texts.
const maxFuzzy = 8

// scored tells whether the answer or its order needs scores.
func (r *searchRequest) scored() bool {
	if r.relevancy {
		return true
	}
	for _, by := range r.by {
		if by.Key == sorting.Relevancy {
			return true
		}
	}
	return false
}

// mayScore refuses relevancy without a fuzzy key (RFC 6203 sections 4 and 6).
func (r *searchRequest) mayScore() error {
	if r.scored() && !search.Uses[search.Fuzzy](r.key) {
		return wire.Syntaxf("RELEVANCY needs a FUZZY search key")
	}
	return nil
}

// score gives the relevancy of messages of a mailbox that a search has found, from 1 to 100.
func (c *conn) score(ctx context.Context, o owner, mailbox domain.MailboxID, found []account.Message, key search.Key) (map[domain.UID]int, error) {
	scores := make(map[domain.UID]int, len(found))
	open := make([]domain.UID, len(found))
	for i := range found {
		open[i] = found[i].UID
	}
	levels := search.Closenesses()
	for _, level := range levels[:len(levels)-1] {
		if len(open) == 0 {
			return scores, nil
		}
		f := finder{c: c, key: level.Within(key), owner: o}
		near, err := f.in(ctx, mailbox, open)
		if err != nil {
			return nil, err
		}
		for i := range near {
			scores[near[i].UID] = level.Score()
		}
		left := open[:0]
		for _, uid := range open {
			if _, done := scores[uid]; !done {
				left = append(left, uid)
			}
		}
		open = left
	}
	for _, uid := range open {
		scores[uid] = levels[len(levels)-1].Score()
	}
	return scores, nil
}

// sendScores writes the item RELEVANCY: the scores in the order of the results (RFC 6203 section 4), of a part of them if a part is asked for (section
// 6).
func (c *conn) sendScores(r *searchRequest, found []account.Message) {
	if r.partial != nil {
		first, end := r.partial.of(len(found))
		found = found[first:end]
	}
	c.enc.Raw(" RELEVANCY ").List(len(found), func(i int) { c.enc.Number(uint64(r.scores[found[i].UID])) })
}
