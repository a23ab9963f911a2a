package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/search"
)

// Query is a conjunction of criteria. The zero Query is met by every message.
type Query struct {
	Limit    int // how many messages are wanted at most; 0 for all
	Criteria []Criterion
}

// Criterion is one comparison. Make it with NewCriterion.
type Criterion struct {
	Field, Operator, Value string

	time   int64  // of dates, Unix milliseconds
	folded []byte // of comparisons that ignore case
	number uint64 // of message and mailbox ids; 0 when the value is none
}

// MaxCriteria bounds a query.
const MaxCriteria = 100

// operators lists what each field can be asked. James has fewer operators for sender, recipients and originMailboxes; what it has means the same here.
var operators = map[string][]string{
	"subject":         {"contains", "containsIgnoreCase", "equals", "equalsIgnoreCase"},
	"deliveryDate":    {"beforeOrEquals", "afterOrEquals"},
	"deletionDate":    {"beforeOrEquals", "afterOrEquals"},
	"sender":          {"equals", "equalsIgnoreCase", "contains", "containsIgnoreCase"},
	"recipients":      {"contains", "containsIgnoreCase"},
	"hasAttachment":   {"equals"},
	"originMailboxes": {"contains", "containsIgnoreCase"},
	"messageId":       {"equals"},
}

// NewCriterion checks a comparison. Errors: domain.Invalid.
func NewCriterion(field, operator, value string) (Criterion, error) {
	c := Criterion{Field: field, Operator: operator, Value: value}
	known, ok := operators[field]
	switch {
	case !ok:
		return c, domain.Errorf(domain.Invalid, "%q is not a field of deleted messages: deletionDate, deliveryDate, recipients, sender, hasAttachment, originMailboxes, subject and messageId are", field)
	case !slices.Contains(known, operator):
		return c, domain.Errorf(domain.Invalid, "%s cannot be compared with %q: it has %s", field, operator, strings.Join(known, ", "))
	}
	var err error
	switch field {
	case "deliveryDate", "deletionDate":
		var t time.Time
		if t, err = ParseTime(value); err == nil {
			c.time = t.UnixMilli()
		}
	case "hasAttachment":
		if value != "true" && value != "false" {
			err = domain.Errorf(domain.Invalid, "hasAttachment is true or false, not %q", value)
		}
	case "messageId":
		if c.number, err = strconv.ParseUint(value, 10, 64); err != nil {
			err = domain.Errorf(domain.Invalid, "%q is not the id of a message, which is a number", value)
		}
	case "originMailboxes":
		c.number, _ = strconv.ParseUint(value, 10, 32) // otherwise it is a name
	}
	c.folded = search.Fold(value)
	return c, err
}

// ParseTime reads RFC 3339, such a time with a zone's name behind it as James writes it, or a date, which is its midnight in UTC.
func ParseTime(text string) (time.Time, error) {
	plain, _, _ := strings.Cut(text, "[")
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, plain); err == nil {
			return t, nil
		}
	}
	return time.Time{}, domain.Errorf(domain.Invalid, "%q is not a time such as 2026-11-23T12:00:00Z or 2026-11-23", text)
}

// node is a query or a criterion as JSON has it: James allows queries inside queries.
type node struct {
	Combinator *string         `json:"combinator"`
	Limit      *int            `json:"limit"`
	Criteria   []node          `json:"criteria"`
	FieldName  string          `json:"fieldName"`
	Operator   string          `json:"operator"`
	Value      json.RawMessage `json:"value"`
}

// ParseQuery reads James's JSON form: {"combinator": "and", "limit": 99, "criteria": [{"fieldName", "operator", "value"}]}. Errors: domain.Invalid.
func ParseQuery(text []byte) (Query, error) {
	var n node
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&n)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF { // RFC 8259 section 2: a JSON text is one value.
			err = errors.New("something follows the query")
		}
	}
	if err != nil {
		return Query{}, domain.Wrap(domain.Invalid, err, "the query is not the JSON that is wanted")
	}
	var q Query
	if n.Limit != nil {
		if q.Limit = *n.Limit; q.Limit <= 0 {
			return q, domain.Errorf(domain.Invalid, "the limit of a query is at least 1, not %d", q.Limit)
		}
	}
	return q, q.add(&n, 0)
}

// add takes in what a node says. Since and is the only combinator, nesting means nothing.
func (q *Query) add(n *node, depth int) error {
	switch {
	case depth > 8:
		return domain.Errorf(domain.Invalid, "queries are nested too deeply")
	case n.FieldName != "":
		value := string(n.Value)
		var text string
		if json.Unmarshal(n.Value, &text) == nil {
			value = text
		}
		return q.compare(n.FieldName, n.Operator, value)
	case n.Combinator != nil && !strings.EqualFold(*n.Combinator, "and"):
		return domain.Errorf(domain.Invalid, "the combinator %q is not supported: only \"and\" is", *n.Combinator)
	}
	for i := range n.Criteria {
		if err := q.add(&n.Criteria[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (q *Query) compare(field, operator, value string) error {
	if len(q.Criteria) == MaxCriteria {
		return domain.Errorf(domain.TooLarge, "a query has at most %d criteria", MaxCriteria)
	}
	c, err := NewCriterion(field, operator, value)
	q.Criteria = append(q.Criteria, c)
	return err
}

// terms gives the typed form's words their meaning.
var terms = map[string]struct{ field, operator string }{
	"subject":        {"subject", "containsIgnoreCase"},
	"from":           {"sender", "containsIgnoreCase"},
	"to":             {"recipients", "containsIgnoreCase"},
	"mailbox":        {"originMailboxes", "containsIgnoreCase"},
	"attachment":     {"hasAttachment", "equals"},
	"id":             {"messageId", "equals"},
	"deleted-since":  {"deletionDate", "afterOrEquals"},
	"deleted-until":  {"deletionDate", "beforeOrEquals"},
	"received-since": {"deliveryDate", "afterOrEquals"},
	"received-until": {"deliveryDate", "beforeOrEquals"},
}

// ParseTerms reads the form for people: words of the kind name:value, all of which must hold, a value with spaces in double quotes. The
// names are subject, from, to, mailbox, attachment, id, deleted-since, deleted-until, received-since and received-until; a word without
// a name is looked for in the subject. Text that begins with "{" is the JSON form. Errors: domain.Invalid.
func ParseTerms(text string) (q Query, err error) {
	if text = strings.TrimSpace(text); strings.HasPrefix(text, "{") {
		return ParseQuery([]byte(text))
	}
	for text != "" {
		var word string
		var quoted bool
		end := strings.IndexFunc(text, func(r rune) bool {
			if r == '"' {
				quoted = !quoted
			}
			return r == ' ' && !quoted
		})
		if quoted {
			return q, domain.Errorf(domain.Invalid, "a quotation mark is missing in %s", text)
		}
		if end < 0 {
			end = len(text)
		}
		word, text = text[:end], strings.TrimLeft(text[end:], " ")
		name, value, named := strings.Cut(word, ":")
		if !named || strings.Contains(name, `"`) {
			name, value = "subject", word
		}
		term, known := terms[name]
		if !known {
			return q, domain.Errorf(domain.Invalid, "%q is none of subject, from, to, mailbox, attachment, id, deleted-since, deleted-until, received-since, received-until", name)
		}
		if err := q.compare(term.field, term.operator, strings.ReplaceAll(value, `"`, "")); err != nil {
			return q, err
		}
	}
	return q, nil
}

// Matches tells whether a message meets every criterion. The limit is the caller's.
func (q *Query) Matches(m *Message) bool {
	for i := range q.Criteria {
		if !q.Criteria[i].matches(m) {
			return false
		}
	}
	return true
}

func (c *Criterion) matches(m *Message) bool {
	switch c.Field {
	case "subject":
		return c.text(m.Subject)
	case "sender":
		if c.Operator == "equals" {
			return strings.EqualFold(m.Sender, c.Value) // an address: who writes to it does not care about case
		}
		return c.text(m.Sender)
	case "recipients":
		if c.Operator == "contains" { // one of the list is that address
			return slices.ContainsFunc(m.Recipients, func(r string) bool { return strings.EqualFold(r, c.Value) })
		}
		return slices.ContainsFunc(m.Recipients, c.text)
	case "originMailboxes":
		return slices.ContainsFunc(m.Origins, func(o Origin) bool {
			if c.number != 0 && domain.MailboxID(c.number) == o.ID {
				return true
			}
			return o.Name == c.Value || c.Operator == "containsIgnoreCase" && bytes.Equal(search.Fold(o.Name), c.folded)
		})
	case "hasAttachment":
		return m.HasAttachment == (c.Value == "true")
	case "messageId":
		return m.Email == domain.EmailID(c.number)
	case "deletionDate":
		return c.date(m.Deleted)
	case "deliveryDate":
		return c.date(m.Delivered * 1000)
	}
	return false
}

func (c *Criterion) text(value string) bool {
	switch c.Operator {
	case "contains":
		return strings.Contains(value, c.Value)
	case "equals":
		return value == c.Value
	case "containsIgnoreCase":
		return bytes.Contains(search.Fold(value), c.folded)
	case "equalsIgnoreCase":
		return bytes.Equal(search.Fold(value), c.folded)
	}
	return false
}

func (c *Criterion) date(millis int64) bool {
	if c.Operator == "beforeOrEquals" {
		return millis <= c.time
	}
	return millis >= c.time
}
