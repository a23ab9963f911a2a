package search

import (
	"github.com/streampost/streampost/domain/text"
)

// Read is stage 3: it looks for the query's texts in the message, after which Judge knows all. The candidate must have its Summary. The message
// is read forwards, at most once, and no further than needed.
func (q *Query) Read(c *Candidate, open text.Opener) error {
	r := &reading{query: q, found: make([]bool, len(q.questions))}
	var all, bodies [][]byte
	for i, question := range q.questions {
		switch question.Where {
		case InField:
			r.fields = append(r.fields, i)
		case Anywhere:
			all = append(all, []byte(question.Needle))
		case InBody:
			bodies = append(bodies, []byte(question.Needle))
		}
	}
	r.all, r.body = newMatcher(all), newMatcher(bodies)
	if err := text.Walk(&c.Summary.Root, open, r); err != nil {
		return err
	}
	if c.Extracts != nil && r.WantsText() {
		texts, err := c.Extracts()
		if err != nil {
			return err
		}
		for t := range texts {
			r.Text([]byte(t))
			r.EndText()
		}
	}
	a, b := 0, 0
	for i, question := range q.questions {
		switch question.Where {
		case Anywhere:
			r.found[i] = r.all.found[a]
			a++
		case InBody:
			r.found[i] = r.body.found[b]
			b++
		}
	}
	c.found = r.found
	return nil
}

// reading is one walk through a message.
type reading struct {
	query     *Query
	fields    []int // the questions about one field of the header
	found     []bool
	all, body *matcher
}

func (r *reading) WantsHeader(h text.Header) bool {
	return h == text.Own && len(r.fields) > 0 || !r.all.done() || h == text.Embedded && !r.body.done()
}

func (r *reading) WantsText() bool { return !r.all.done() || !r.body.done() }

func (r *reading) Field(h text.Header, name, value string) {
	if h == text.Own {
		for _, i := range r.fields {
			if question := &r.query.questions[i]; !r.found[i] && question.Field == name {
				r.found[i] = contains(value, question.Needle)
			}
		}
	}
	for _, m := range []*matcher{r.all, r.body} {
		if m == r.body && h != text.Embedded || m.done() {
			continue
		}
		m.write([]byte(name))
		m.write([]byte(fieldMark))
		m.write([]byte(value))
		m.boundary()
	}
}

func (r *reading) Text(piece []byte) {
	r.all.write(piece)
	r.body.write(piece)
}

func (r *reading) EndText() {
	r.all.boundary()
	r.body.boundary()
}
