package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sorting"
	"github.com/streampost/streampost/domain/threading"
)

// THREAD (RFC 5256 section 3).

func init() {
	names := []string{}
	for name, algorithm := range map[string]func([]threading.Message) *threading.Forest{
		"ORDEREDSUBJECT": threading.OrderedSubject, "REFERENCES": threading.References, "REFS": threading.Refs,
	} {
		threadAlgorithms[name] = algorithm
		names = append(names, "THREAD="+name)
	}
	register(spec{name: "THREAD", states: mailboxSelected, uid: true, numbered: true, run: runThread, capabilities: names})
}

// threadAlgorithms are the algorithms of THREAD by name.
var threadAlgorithms = map[string]func([]threading.Message) *threading.Forest{}

// runThread is THREAD and UID THREAD.
func runThread(ctx context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	var name string
	if !d.ExpectSP() || !d.ExpectName(&name) || !d.ExpectSP() {
		return d.Err()
	}
	algorithm, known := threadAlgorithms[name]
	if !known || !c.serves("THREAD="+name) {
		return wire.Syntaxf("unknown threading algorithm %s", name)
	}
	p := searchParser{c: c, d: d, sel: c.sel}
	if err := p.parseCharset(); err != nil {
		return err
	}
	var r searchRequest
	if err := r.parseKeys(&p); err != nil {
		return err
	}
	found, err := c.search(ctx, r.key, c.sel.uids)
	if err != nil {
		return err
	}
	var messages []threading.Message
	if err := c.server.cfg.Tables.Use(ctx, c.sel.owner.id, c.sel.mailbox, found, func(table *sorting.Table, rows []account.Message) {
		messages, found = table.Threading(rows), rows
	}); err != nil {
		return err
	}
	c.sendThreads(algorithm(messages), c.numbers(found, cmd.uid))
	return nil
}

// sendThreads writes THREAD (RFC 5256 section 4). Threads may be as deep as the mailbox is large, so this keeps its own stack.
func (c *conn) sendThreads(f *threading.Forest, numbers []uint32) {
	const end = -1 // closes a list
	c.enc.Raw("* THREAD")
	if len(f.Roots) > 0 {
		c.enc.SP()
	}
	var stack, children []int32
	for _, root := range f.Roots {
		stack = append(stack, root)
		for len(stack) > 0 {
			node := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if node == end {
				c.enc.Byte(')')
				continue
			}
			c.enc.Byte('(')
			stack = append(stack, end)
			for shown := false; ; shown = true { // an only child follows its parent in the same list.
				if int(node) < f.Len() {
					if shown {
						c.enc.SP()
					}
					c.enc.Number(uint64(numbers[node]))
				}
				if children = f.Children(children[:0], node); len(children) != 1 {
					break
				}
				node = children[0]
			}
			if len(children) > 0 && int(node) < f.Len() {
				c.enc.SP()
			}
			for i := len(children) - 1; i >= 0; i-- {
				stack = append(stack, children[i])
			}
		}
	}
	c.enc.CRLF()
}
