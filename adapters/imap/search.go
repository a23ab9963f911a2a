package imap

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/domain/sorting"
)

// SEARCH (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4) with ESEARCH (RFC 4731) and SEARCHRES (RFC 5182), and what it shares with SORT and with
// the command ESEARCH: options of RETURN and answers. How messages are found is in find.go.

func init() {
	register(spec{name: "SEARCH", states: mailboxSelected, uid: true, numbered: true, run: runSearch})
	advertise("ESEARCH", whenAuthenticated)
	advertise("SEARCHRES", whenAuthenticated)
	option := func(name string, set func(r *searchRequest)) {
		returns(name, func(_ *conn, _ *wire.Decoder, r *searchRequest) bool { set(r); return true })
	}
	option("ALL", func(r *searchRequest) { r.all = true })
	option("MIN", func(r *searchRequest) { r.min = true })
	option("MAX", func(r *searchRequest) { r.max = true })
	option("COUNT", func(r *searchRequest) { r.count = true })
	option("SAVE", func(r *searchRequest) { r.save = true })
}

// maxTexts bounds the texts that one search looks for, in each message that nothing else excludes.
const maxTexts = 1000

// searchRequest is a parsed SEARCH, SORT or ESEARCH.
type searchRequest struct {
	tag      string
	uid      bool // the answer holds UIDs
	key      search.Key
	among    []domain.UID        // only these messages of the view; nil means all
	by       []sorting.Criterion // the answer is in this order; empty means that of the mailbox
	extended bool                // the answer is ESEARCH

	all, min, max, count bool // what it holds
	save                 bool // "$" becomes the result
	nothing              bool // options are given that ask for no data, so that an empty list does not mean ALL
	partial              *partialRange
	update               bool        // the results are kept up to date
	items                []fetchItem // of new messages that come into them (RFC 5465 section 7)
	relevancy            bool        // it holds scores

	scores map[domain.UID]int // relevancy of what was found

	in *source // the answer names the mailbox (RFC 7377); nil of SEARCH and SORT
}

// searchReturn is an option of RETURN.
type searchReturn struct {
	parse        func(c *conn, d *wire.Decoder, r *searchRequest) bool
	capabilities []string // each of which brings it; none for what IMAP4rev2 has
}

// searchReturns are the options of RETURN by name. Extensions add theirs from init.
var searchReturns = map[string]searchReturn{}

func returns(name string, parse func(c *conn, d *wire.Decoder, r *searchRequest) bool, capabilities ...string) {
	searchReturns[name] = searchReturn{parse, capabilities}
}

// parse reads a SEARCH. The error is that of the grammar, or the charset's.
func (r *searchRequest) parse(c *conn, d *wire.Decoder) error {
	if !d.ExpectSP() {
		return d.Err()
	}
	r.extended = c.rev2 // RFC 9051 section 6.4.4: the answer is always ESEARCH.
	r.all = true
	if !r.parseReturn(c, d) {
		return d.Err()
	}
	return r.parseProgram(&searchParser{c: c, d: d, sel: c.sel})
}

// parseProgram reads search keys with an optional charset before them, to the end of the command.
func (r *searchRequest) parseProgram(p *searchParser) error {
	d := p.d
	if d.Follows("CHARSET ") {
		if p.c.utf8 && !p.c.rev2 {
			return wire.Syntaxf("CHARSET is not allowed with UTF8=ACCEPT") // RFC 6855 section 3.
		}
		var name string
		if !d.ExpectName(&name) || !d.ExpectSP() {
			return d.Err()
		}
		if err := p.parseCharset(); err != nil {
			return err
		}
	}
	return r.parseKeys(p)
}

// parseKeys reads search keys to the end of the command.
func (r *searchRequest) parseKeys(p *searchParser) error {
	key, ok := p.keys()
	if !ok || !p.d.ExpectCRLF() {
		return p.d.Err()
	}
	if search.Texts(key) > maxTexts {
		return &wire.SyntaxError{Code: "LIMIT", Text: "a search looks for too many texts"}
	}
	r.key = key
	return r.mayScore()
}

// parseReturn reads RETURN and its options, if they come next.
func (r *searchRequest) parseReturn(c *conn, d *wire.Decoder) bool {
	if !d.Follows("RETURN ") {
		return d.Err() == nil
	}
	var name string
	if !d.ExpectName(&name) || !d.ExpectSP() {
		return false
	}
	r.extended, r.all = true, false
	if !d.ExpectList(func() bool {
		if !d.ExpectName(&name) {
			return false
		}
		option, known := searchReturns[name]
		if !known || !c.serves(option.capabilities...) {
			return d.Fail(wire.Syntaxf("there is no return option %s", name))
		}
		return option.parse(c, d, r)
	}) {
		return false
	}
	if r.all && r.partial != nil { // RFC 9394 section 3.1.
		return d.Fail(wire.Syntaxf("ALL and PARTIAL cannot be returned together"))
	}
	if !r.min && !r.max && !r.count && !r.save && !r.nothing && r.partial == nil { // RFC 4731 section 3.1: RETURN () means RETURN (ALL).
		r.all = true
	}
	return d.ExpectSP()
}

func runSearch(ctx context.Context, c *conn, cmd *command) error {
	r := searchRequest{tag: cmd.tag, uid: cmd.uid}
	err := r.parse(c, cmd.dec)
	var short cut
	if err == nil {
		short = c.limitSearch(&r)
	}
	if err = c.answerSearch(ctx, &r, err); err == nil {
		c.tellLimit(cmd, short)
	}
	return err
}

// answerSearch runs a SEARCH or SORT of the selected mailbox; failed is the error of its parser.
func (c *conn) answerSearch(ctx context.Context, r *searchRequest, failed error) error {
	var found []account.Message
	err := cmp.Or(failed, c.mayFollow(r))
	if err == nil {
		c.enableBySearch(r.key)
		found, err = c.find(ctx, r)
	}
	if err != nil {
		var grammar *wire.SyntaxError
		if r.save && !errors.As(err, &grammar) {
			c.sel.saved = nil // RFC 5182 section 2.1: a NO empties "$"; a BAD leaves it as it was.
		}
		return err
	}
	if r.save {
		c.sel.saved = r.result(found)
	}
	if r.update {
		c.follow(r, found)
	}
	if !r.extended {
		c.sendNumbers(r, found)
		return nil
	}
	if r.save && !r.all && !r.min && !r.max && !r.count && !r.nothing && r.partial == nil { // RFC 5182 section 2.1: SAVE alone sends nothing.
		return nil
	}
	if r.in != nil {
		c.sendFound(r, *r.in, found)
		return nil
	}
	c.enc.Raw("* ESEARCH (TAG ").String(r.tag).Byte(')') // RFC 9051 section 7.3.4.
	c.sendResults(r, found)
	return nil
}

// find gives the messages of the selected mailbox that are asked for, in the order that is.
func (c *conn) find(ctx context.Context, r *searchRequest) ([]account.Message, error) {
	among := c.sel.uids
	if r.among != nil {
		among = r.among
	}
	found, err := c.search(ctx, r.key, among)
	if err != nil {
		return nil, err
	}
	if r.scored() {
		if r.scores, err = c.score(ctx, c.sel.owner, c.sel.mailbox, found, r.key); err != nil {
			return nil, err
		}
	}
	if len(r.by) == 0 {
		return found, nil
	}
	return c.order(ctx, found, r.by, func(uid domain.UID) int { return r.scores[uid] })
}

// result gives what "$" becomes. Without ALL and COUNT it is those messages only that MIN, MAX and PARTIAL ask for, if they do (RFC 5182 section 2.4,
// RFC 9394 section 3.2).
func (r *searchRequest) result(found []account.Message) (saved domain.UIDSet) {
	if r.all || r.count || !r.min && !r.max && r.partial == nil {
		for i := range found {
			saved = saved.Add(found[i].UID)
		}
		return saved
	}
	if len(found) == 0 {
		return nil
	}
	if r.min {
		saved = saved.Add(found[0].UID)
	}
	if r.max {
		saved = saved.Add(found[len(found)-1].UID)
	}
	if r.partial != nil {
		first, end := r.partial.of(len(found))
		for i := range found[first:end] {
			saved = saved.Add(found[first+i].UID)
		}
	}
	return saved
}

// numbers gives UIDs or the sequence numbers of the session's view.
func (c *conn) numbers(found []account.Message, uid bool) []uint32 {
	numbers := make([]uint32, len(found))
	for i := range found {
		if numbers[i] = uint32(found[i].UID); !uid {
			numbers[i], _ = c.sel.seq(found[i].UID)
		}
	}
	return numbers
}

// sendNumbers writes SEARCH or SORT.
func (c *conn) sendNumbers(r *searchRequest, found []account.Message) {
	if len(r.by) > 0 {
		c.enc.Raw("* SORT")
	} else {
		c.enc.Raw("* SEARCH")
	}
	for part := range slices.Chunk(c.numbers(found, r.uid), portionOfRows) {
		c.enc.Append(func(b []byte) []byte {
			for _, n := range part {
				b = strconv.AppendUint(append(b, ' '), uint64(n), 10)
			}
			return b
		})
	}
	if highest := r.highest(found); highest > 0 {
		c.enc.Raw(" (MODSEQ ").Number(uint64(highest)).Byte(')') // RFC 7162 sections 3.1.6 and 3.1.9.
	}
	c.enc.CRLF()
}

// sendResults writes the rest of an ESEARCH, whose correlator is written.
func (c *conn) sendResults(r *searchRequest, found []account.Message) {
	enc, numbers := c.enc, c.numbers(found, r.uid)
	if r.uid {
		enc.Raw(" UID")
	}
	if len(numbers) > 0 {
		if r.min {
			enc.Raw(" MIN ").Number(uint64(numbers[0])) // RFC 5267 section 3.1: of SORT it is the first one, whatever its number.
		}
		if r.max {
			enc.Raw(" MAX ").Number(uint64(numbers[len(numbers)-1]))
		}
		if r.all {
			enc.Raw(" ALL ")
			c.sendSet(numbers)
		}
	}
	if r.count {
		enc.Raw(" COUNT ").Number(uint64(len(numbers)))
	}
	if r.partial != nil {
		c.sendPartial(r.partial, numbers)
	}
	if r.relevancy {
		c.sendScores(r, found)
	}
	if highest := r.highest(found); highest > 0 {
		enc.Raw(" MODSEQ ").Number(uint64(highest)) // RFC 4731 section 3.2.
	}
	enc.CRLF()
}

// sendSet writes numbers as a sequence-set that keeps their order: only what rises by one is a range (RFC 5267 section 3.2).
func (c *conn) sendSet(numbers []uint32) {
	for i := 0; i < len(numbers); {
		if i > 0 {
			c.enc.Byte(',')
		}
		last := i
		for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
			last++
		}
		c.enc.Number(uint64(numbers[i]))
		if last > i {
			c.enc.Byte(':').Number(uint64(numbers[last]))
		}
		i = last + 1
	}
}
