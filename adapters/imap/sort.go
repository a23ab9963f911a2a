package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain/sorting"
)

// SORT (RFC 5256 section 3), by what readers see of addresses (RFC 5957), with RETURN (ESORT, RFC 5267 section 3).

func init() {
	register(spec{name: "SORT", states: mailboxSelected, uid: true, numbered: true, run: runSort, capabilities: []string{"SORT"}})
	advertise("SORT=DISPLAY", whenAuthenticated)
	advertise("ESORT", whenAuthenticated)
	advertise("I18NLEVEL=1", whenAuthenticated) // RFC 5255 section 4.2: SEARCH, SORT and THREAD compare by i;unicode-casemap.
	for name, key := range map[string]sorting.Key{
		"ARRIVAL": sorting.Arrival, "CC": sorting.Cc, "DATE": sorting.Date, "FROM": sorting.From, "SIZE": sorting.Size, "SUBJECT": sorting.Subject, "TO": sorting.To,
	} {
		sortKeys[name] = sortKey{key, "SORT"}
	}
	sortKeys["DISPLAYFROM"] = sortKey{sorting.DisplayFrom, "SORT=DISPLAY"}
	sortKeys["DISPLAYTO"] = sortKey{sorting.DisplayTo, "SORT=DISPLAY"}
}

// sortKey is an entry of the table of sort keys.
type sortKey struct {
	key        sorting.Key
	capability string // that brings it
}

// sortKeys are the keys of SORT by name. Extensions add theirs from init.
var sortKeys = map[string]sortKey{}

// maxCriteria bounds the criteria of one SORT. There are fewer keys.
const maxCriteria = 16

// runSort is SORT and UID SORT.
func runSort(ctx context.Context, c *conn, cmd *command) error {
	r := searchRequest{tag: cmd.tag, uid: cmd.uid}
	return c.answerSearch(ctx, &r, r.parseSort(c, cmd.dec))
}

func (r *searchRequest) parseSort(c *conn, d *wire.Decoder) error {
	if !d.ExpectSP() {
		return d.Err()
	}
	if d.Follows("RETURN ") && !c.serves("ESORT", "CONTEXT=SORT") {
		return wire.Syntaxf("SORT has no RETURN")
	}
	if !r.parseReturn(c, d) || !d.ExpectList(func() bool { return r.parseCriterion(c, d) }) || !d.ExpectSP() {
		return d.Err()
	}
	if len(r.by) == 0 {
		return wire.Syntaxf("SORT needs a criterion")
	}
	p := searchParser{c: c, d: d, sel: c.sel}
	if err := p.parseCharset(); err != nil { // RFC 5256 section 5: it is not optional.
		return err
	}
	return r.parseKeys(&p)
}

func (r *searchRequest) parseCriterion(c *conn, d *wire.Decoder) bool {
	var criterion sorting.Criterion
	var name string
	if !d.ExpectName(&name) {
		return false
	}
	if criterion.Reverse = name == "REVERSE"; criterion.Reverse && (!d.ExpectSP() || !d.ExpectName(&name)) {
		return false
	}
	known, is := sortKeys[name]
	if !is || !c.serves(known.capability) {
		return d.Fail(wire.Syntaxf("unknown sort key %s", name))
	}
	if len(r.by) == maxCriteria {
		return d.Fail(&wire.SyntaxError{Code: "LIMIT", Text: "there are too many sort keys"})
	}
	criterion.Key = known.key
	r.by = append(r.by, criterion)
	return true
}
