package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/streampost/streampost/domain/dsn"
	"github.com/streampost/streampost/domain/queue"
)

// blockSize is how many octets of a message are sent within Limits.Block.
const blockSize = 32 << 10

// transact sends a message to recipients. Its outcomes are in their order. begun says that the peer has answered to this message, so that another host would not do better.
func (n *session) transact(ctx context.Context, e *queue.Entry, to []queue.Recipient, open queue.Open) (outcomes []queue.Outcome, begun bool, err error) {
	mail, refused := n.mail(e)
	if refused != nil {
		return n.all(to, refused), true, nil
	}
	n.messages++
	outcomes = make([]queue.Outcome, len(to))
	for i, r := range to {
		outcomes[i] = queue.Outcome{Recipient: r, Status: "4.4.2", Text: "the connection broke before there was an answer"}
	}
	commands := []string{mail}
	for _, r := range to {
		commands = append(commands, n.rcpt(&r))
	}
	next := func(i int) (*reply, error) { return n.do(ctx, commands[i]) }
	if n.has("PIPELINING") {
		if err := n.write(ctx, commands...); err != nil {
			return nil, false, err
		}
		next = func(int) (*reply, error) { return n.answer(ctx, n.cfg.Limits.Command) }
	}
	answer, err := next(0)
	if err != nil {
		return nil, false, err
	}
	if !answer.ok() {
		if n.has("PIPELINING") { // the others are answered all the same
			for i := range to {
				if _, err := next(i + 1); err != nil {
					break
				}
			}
		}
		return n.all(to, answer), answer.code/100 == 5 || answer.code != 421, nil
	}
	count := 0
	for i := range to {
		answer, err := next(i + 1)
		if err != nil {
			unsent(outcomes[:i])
			return outcomes, true, err
		}
		outcomes[i] = n.outcome(to[i], answer)
		if answer.ok() {
			count++
		}
	}
	if count == 0 {
		_, err := n.do(ctx, "RSET")
		return outcomes, true, err
	}
	final, err := n.content(ctx, e, open)
	for i := range outcomes {
		if !accepted(&outcomes[i]) {
			continue // refused before
		}
		if err != nil {
			outcomes[i] = queue.Outcome{Recipient: to[i], Fate: queue.Deferred, Status: "4.4.2", Text: "the transfer broke off: " + err.Error()}
			continue
		}
		outcomes[i] = n.outcome(to[i], final)
	}
	return outcomes, true, err
}

// accepted tells whether the peer said yes to a recipient.
func accepted(o *queue.Outcome) bool { return o.Fate == queue.Relayed || o.Fate == queue.Gone }

// unsent takes back what the peer said yes to: a recipient has nothing before the message was sent.
func unsent(outcomes []queue.Outcome) {
	for i := range outcomes {
		if o := &outcomes[i]; accepted(o) {
			*o = queue.Outcome{Recipient: o.Recipient, Fate: queue.Deferred, Status: "4.4.2", Text: "the connection broke before the message was sent"}
		}
	}
}

// mail makes the command, or tells why the peer cannot have the message.
func (n *session) mail(e *queue.Entry) (string, *reply) {
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + n.cfg.Mark(e.Sender) + ">")
	if n.has("8BITMIME") {
		b.WriteString(" BODY=8BITMIME")
	}
	if n.has("SIZE") {
		if most := n.size(); most > 0 && e.Size() > most { // RFC 1870 section 6.1.
			return "", own(552, "5.3.4", fmt.Sprintf("the host takes messages of up to %d octets, and this one has %d", most, e.Size()))
		}
		fmt.Fprintf(&b, " SIZE=%d", e.Size())
	}
	if e.UTF8 {
		if !n.has("SMTPUTF8") { // RFC 6531 section 3.5.
			return "", own(553, "5.6.7", "the host does not take addresses or headers outside ASCII")
		}
		b.WriteString(" SMTPUTF8")
	}
	if e.TLS == queue.TLSRequired {
		b.WriteString(" REQUIRETLS") // RFC 8689 section 4.2.1: where the host lacks it, nobody gets here.
	}
	if n.has("DSN") {
		if e.Return != "" {
			b.WriteString(" RET=" + e.Return)
		}
		if e.EnvelopeID != "" {
			b.WriteString(" ENVID=" + dsn.Xtext(e.EnvelopeID))
		}
	}
	return b.String(), nil
}

// own is an answer that we give in the peer's place.
func own(code int, status, text string) *reply {
	return &reply{code: code, status: status, text: text}
}

// rcpt makes the command, with what the sender wants to hear (RFC 3461 section 5.2).
func (n *session) rcpt(r *queue.Recipient) string {
	command := "RCPT TO:<" + r.Address + ">"
	if !n.has("DSN") {
		return command
	}
	if notify := r.Notify.String(); notify != "" {
		command += " NOTIFY=" + notify
	}
	if kind, address, ok := strings.Cut(r.Original, ";"); ok {
		command += " ORCPT=" + kind + ";" + dsn.Xtext(address)
	}
	return command
}

// outcome reads an answer for a recipient.
func (n *session) outcome(r queue.Recipient, answer *reply) queue.Outcome {
	o := queue.Outcome{Recipient: r, Status: answer.status, Text: answer.text, Peer: n.peer}
	switch {
	case answer.ok() && n.has("DSN"):
		o.Fate = queue.Relayed
	case answer.ok():
		o.Fate = queue.Gone
	case answer.code == 552 && (answer.status == "" || answer.status == "5.5.3"): // RFC 5321 section 4.5.3.1.10: too many recipients, in old servers.
		o.Fate, o.Status = queue.Deferred, "4.5.3"
	case answer.code/100 == 5:
		o.Fate = queue.Failed
	default:
		o.Fate = queue.Deferred
	}
	return o
}

func (n *session) all(to []queue.Recipient, answer *reply) (outcomes []queue.Outcome) {
	for _, r := range to {
		o := n.outcome(r, answer)
		if answer.code/100 == 5 { // of the whole message
			o.Fate, o.Status = queue.Failed, answer.status
		}
		if answer.lines == nil {
			o.Peer = "" // we said it
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// content sends the message itself and gives the answer to it.
func (n *session) content(ctx context.Context, e *queue.Entry, open queue.Open) (*reply, error) {
	r, err := open(ctx)
	if err != nil {
		n.broken = true // the peer waits for what never comes
		return nil, err
	}
	defer r.Close()
	if n.has("CHUNKING") {
		return n.chunk(ctx, e, r)
	}
	answer, err := n.do(ctx, "DATA")
	if err != nil {
		return nil, err
	}
	if answer.code != 354 {
		if answer.ok() {
			n.broken = true
			return nil, errForm
		}
		return answer, nil
	}
	w := &stuffer{}
	buffer := make([]byte, blockSize)
	for {
		m, readErr := r.Read(buffer)
		if err := n.block(ctx, w.stuff(buffer[:m])); err != nil {
			return nil, err
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			n.broken = true // without its end, the message counts for nothing
			return nil, readErr
		}
	}
	n.cfg.Failpoint("outbound.before-end")
	if err := n.block(ctx, w.end()); err != nil {
		return nil, err
	}
	return n.ended(ctx)
}

// chunk sends the message as one chunk of BDAT (RFC 3030 section 2).
func (n *session) chunk(ctx context.Context, e *queue.Entry, r io.Reader) (*reply, error) {
	left := e.Size()
	if err := n.write(ctx, fmt.Sprintf("BDAT %d LAST", left)); err != nil {
		return nil, err
	}
	buffer := make([]byte, blockSize)
	for left > 0 {
		m, err := r.Read(buffer[:min(int64(len(buffer)), left)])
		left -= int64(m)
		if left == 0 {
			n.cfg.Failpoint("outbound.before-end")
		}
		if err := n.block(ctx, buffer[:m]); err != nil {
			return nil, err
		}
		if err != nil && left > 0 {
			n.broken = true
			return nil, errors.Join(io.ErrUnexpectedEOF, err)
		}
	}
	return n.ended(ctx)
}

func (n *session) block(ctx context.Context, b []byte) error {
	if err := n.deadline(ctx, n.cfg.Limits.Block); err != nil {
		return err
	}
	_, _ = n.out.Write(b)
	return n.broke(n.out.Flush())
}

// ended reads the answer that says what became of the message.
func (n *session) ended(ctx context.Context) (*reply, error) {
	answer, err := n.answer(ctx, n.cfg.Limits.End)
	if err != nil {
		return nil, err
	}
	if answer.ok() {
		n.cfg.Failpoint("outbound.accepted")
	} else if answer.code/100 == 3 {
		n.broken = true
	}
	return answer, nil
}

// stuffer doubles dots at the beginning of lines (RFC 5321 section 4.5.2).
type stuffer struct {
	inLine bool
	out    bytes.Buffer
}

func (s *stuffer) stuff(b []byte) []byte {
	s.out.Reset()
	for len(b) > 0 {
		if !s.inLine && b[0] == '.' {
			s.out.WriteByte('.')
		}
		end := bytes.IndexByte(b, '\n') + 1
		if end == 0 {
			end = len(b)
		}
		s.out.Write(b[:end])
		s.inLine = b[end-1] != '\n'
		b = b[end:]
	}
	return s.out.Bytes()
}

// end ends the message.
func (s *stuffer) end() []byte {
	if s.inLine {
		return []byte("\r\n.\r\n")
	}
	return []byte(".\r\n")
}
