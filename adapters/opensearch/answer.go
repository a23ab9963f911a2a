package opensearch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/search"
)

// searchAnswer is an answer of OpenSearch.
type searchAnswer struct {
	TimedOut bool `json:"timed_out"`
	Shards   struct {
		Failed int `json:"failed"`
	} `json:"_shards"`
	Hits struct {
		Total struct {
			Value int `json:"value"`
		} `json:"total"`
		Hits []struct {
			Fields struct {
				Email []domain.EmailID `json:"email"`
			} `json:"fields"`
			Matched []string `json:"matched_queries"`
		} `json:"hits"`
	} `json:"hits"`
	Aggregations struct {
		Last  struct{ Value float64 } `json:"last"`
		Count struct{ Value uint64 }  `json:"count"`
		Tx    struct{ Value float64 } `json:"tx"`
		Gone  struct {
			Count int `json:"doc_count"`
		} `json:"gone"`
	} `json:"aggregations"`
}

// except names the query for documents in another state than whole.
const except = "except"

// columns are the fields that questions are about, by place.
var columns = map[search.Place]string{search.InSubject: "subject", search.InFrom: "from", search.InTo: "to", search.InCc: "cc", search.InBcc: "bcc"}

// Answer answers questions about an account's messages, all in one request and from one state of the index. What the index has not come to yet, or
// cannot tell, the answers leave open. Errors: domain.Unavailable, at once while the circuit is open.
func (x *Index) Answer(ctx context.Context, id domain.AccountID, questions []search.Question) (*search.Answers, error) {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.Limits.Answer)
	defer cancel()
	answers, err := x.answer(ctx, id, questions)
	switch {
	case err != nil:
		x.stats.failed.Add(1)
		return nil, domain.Wrap(domain.Unavailable, err, "ask OpenSearch")
	case answers.Next == 0:
		x.stats.open.Add(1)
	default:
		x.stats.answered.Add(1)
	}
	return answers, nil
}

func (x *Index) answer(ctx context.Context, id domain.AccountID, questions []search.Question) (*search.Answers, error) {
	answers := &search.Answers{To: make([]search.Answer, len(questions))}
	should := []any{named(except, map[string]any{"range": map[string]any{"state": map[string]any{"gt": whole}}})}
	for i, q := range questions {
		if query, exact := x.query(q); query != nil {
			answers.To[i] = search.Answer{Known: true, Exact: exact}
			should = append(should, named(strconv.Itoa(i), query))
		}
	}
	if len(should) == 1 {
		return answers, nil
	}
	body, err := json.Marshal(map[string]any{
		"size": x.cfg.Limits.Found, "_source": false, "track_total_hits": true, "docvalue_fields": []string{"email"}, "sort": []string{"_doc"},
		"timeout": fmt.Sprintf("%dms", x.cfg.Limits.Answer.Milliseconds()), // Go writes a minute as 1m0s, which OpenSearch does not read.
		"query":   map[string]any{"bool": map[string]any{"filter": []any{map[string]any{"term": map[string]any{"account": id}}}}},
		"aggs": map[string]any{
			"last":  map[string]any{"max": map[string]any{"field": "email"}},
			"count": map[string]any{"value_count": map[string]any{"field": "email"}},
			"tx":    map[string]any{"max": map[string]any{"field": "tx"}},
			"gone":  map[string]any{"filter": map[string]any{"term": map[string]any{"gone": true}}},
		},
		// After the aggregations, which are about all documents of the account.
		"post_filter": map[string]any{"bool": map[string]any{"should": should, "minimum_should_match": 1}},
	})
	if err != nil {
		return nil, err
	}
	var found searchAnswer
	if err := x.client.do(ctx, http.MethodPost, "/"+x.read()+"/_search?routing="+string(id), body, &found); err != nil {
		return nil, err
	}
	total := found.Hits.Total.Value
	last := found.Aggregations.Last.Value
	if found.TimedOut || found.Shards.Failed > 0 || total > len(found.Hits.Hits) || found.Aggregations.Count.Value != uint64(max(last, 0)) {
		// Too much, or there are gaps: something is still on its way.
		return &search.Answers{To: make([]search.Answer, len(questions))}, nil
	}
	answers.Next = domain.EmailID(last) + 1
	if found.Aggregations.Gone.Count > 0 { // one of them may be back, which is known up to the last arrival only
		answers.Tx = max(domain.Tx(max(found.Aggregations.Tx.Value, 0)), 1)
	}
	for _, hit := range found.Hits.Hits {
		if len(hit.Fields.Email) != 1 {
			continue
		}
		email := hit.Fields.Email[0]
		for _, name := range hit.Matched {
			if name == except {
				answers.Except = append(answers.Except, email)
			} else if i, err := strconv.Atoi(name); err == nil && i < len(answers.To) {
				answers.To[i].Emails = append(answers.To[i].Emails, email)
			}
		}
	}
	slices.Sort(answers.Except)
	return answers, nil
}

func named(name string, query any) any {
	return map[string]any{"bool": map[string]any{"_name": name, "filter": []any{query}}}
}

// query says how the index answers a question, and whether that is exact; nil when it cannot.
func (x *Index) query(q search.Question) (query any, exact bool) {
	switch column := columns[q.Where]; {
	case q.Where == search.SentOn:
		return map[string]any{"range": map[string]any{"sent": map[string]any{"gte": int64(q.Days.From), "lt": int64(q.Days.To)}}}, true
	case column != "":
		if q.Needle == "" || len(q.Needle) > x.cfg.Limits.Column || strings.ContainsAny(q.Needle, "\x00\uFFFD") || !utf8.ValidString(q.Needle) {
			return nil, false
		}
		pattern := "*" + strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(q.Needle) + "*"
		return map[string]any{"wildcard": map[string]any{column: map[string]any{"value": pattern}}}, true
	}
	grams, exact := search.NeedleGrams(q.Needle, x.cfg.Limits.Terms)
	exact = exact && q.Where == search.Anywhere
	if q.Where == search.InField {
		name, _ := search.NeedleGrams(search.FieldNeedle(q.Field), x.cfg.Limits.Terms)
		grams = append(grams, name...)
	}
	if len(grams) == 0 {
		return nil, false
	}
	var all []any
	for _, g := range grams {
		all = append(all, map[string]any{"term": map[string]any{"grams": token(g)}})
	}
	return map[string]any{"bool": map[string]any{"filter": all}}, exact
}
