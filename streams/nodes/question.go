package nodes

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
)

// This file lets other packages put questions of their own to all nodes. Whoever asks and whoever answers agree on a name and on what both say in JSON.
// Nothing secret may be in it.

// answered is what a node says to a question.
type answered struct {
	Node   string          `json:"node"`
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  string          `json:"error,omitempty"` // why there is no answer
}

// Reply answers a question of a name whenever somebody asks. It may take half of the time that the asker waits, and one question is answered after the other.
func (n *Nodes) Reply(name string, reply func(ctx context.Context, question json.RawMessage) (any, error)) error {
	return n.answer(name, func(m *nats.Msg) {
		ctx, cancel := context.WithTimeout(context.Background(), askTime/2)
		defer cancel()
		say := answered{Node: n.cfg.Node}
		said, err := reply(ctx, m.Data)
		if err == nil {
			say.Answer, err = json.Marshal(said)
		}
		if err != nil {
			say.Error = err.Error()
		}
		text, err := json.Marshal(say)
		if err == nil {
			err = m.Respond(text)
		}
		if err != nil {
			n.cfg.Logger.Debug("a question of another node stays without an answer", "question", name, "error", err)
		}
	})
}

// Ask puts a question to all nodes, the asker among them, and hands out the answers as they come: what a node says, or why it says nothing. A node that does
// not answer in time is not among them; expected is how many are, after which nobody waits any longer. Errors: domain.Unavailable, domain.TooLarge.
func (n *Nodes) Ask(ctx context.Context, name string, question any, expected int, answer func(node string, said json.RawMessage, failure string)) error {
	text, err := json.Marshal(question)
	if err != nil {
		return domain.Wrap(domain.Internal, err, "ask the other nodes")
	}
	if most := n.cfg.Conn.MaxPayload(); most > 0 && int64(len(text)) > most {
		return domain.Errorf(domain.TooLarge, "a question to the other nodes has at most %d octets", most)
	}
	heard := 0
	return n.ask(ctx, name, text, askTime, func(m *nats.Msg) bool {
		var a answered
		if json.Unmarshal(m.Data, &a) == nil && a.Node != "" {
			heard++
			answer(a.Node, a.Answer, a.Error)
		}
		return heard >= expected
	})
}
