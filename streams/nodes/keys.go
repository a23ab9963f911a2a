package nodes

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Share offers the node's master keys to the other nodes, and follows them when another rotates. settled returns when nothing is being wrapped with a key
// that was the newest before.
func (n *Nodes) Share(keys *streams.MasterKeys, settled func()) error {
	err := n.answer("keys", func(m *nats.Msg) {
		if sealed := n.seal(keys.Export(), m.Data); m.Respond(sealed) != nil {
			n.cfg.Logger.Warn("another node does not get the master keys: the connection is lost")
		}
	})
	return errors.Join(err, n.answer("keys.changed", func(m *nats.Msg) {
		err := n.Follow(context.Background(), keys)
		if settled(); err == nil {
			err = m.Respond([]byte(n.cfg.Node))
		}
		if err != nil {
			n.cfg.Logger.Error("the master keys were changed on another node, and this one does not follow", "error", err)
		}
	}))
}

// Witness lets master keys change without a node that has none.
func (n *Nodes) Witness() error {
	return n.answer("keys.changed", func(m *nats.Msg) {
		if err := m.Respond([]byte(n.cfg.Node)); err != nil {
			n.cfg.Logger.Warn("a rotation of the master key goes on without an answer", "error", err)
		}
	})
}

// Keys asks the other nodes for the master keys; the value is for streams.SaveMaster. ok is false when nobody has any.
func (n *Nodes) Keys(ctx context.Context) (exported string, ok bool, err error) {
	question := nonce()
	err = n.ask(ctx, "keys", question, quiet, func(m *nats.Msg) bool {
		exported, ok = n.open(m.Data, question)
		return ok
	})
	return exported, ok, err
}

// Follow takes over what the other nodes know of the master keys.
func (n *Nodes) Follow(ctx context.Context, keys *streams.MasterKeys) error {
	question := nonce()
	var errs []error
	err := n.ask(ctx, "keys", question, quiet, func(m *nats.Msg) bool {
		if exported, ok := n.open(m.Data, question); ok {
			errs = append(errs, keys.Follow(exported))
		}
		return false
	})
	return errors.Join(append(errs, err)...)
}

// KeysChanged tells all members that a rotation has begun or is about to end here, and waits until each has followed.
// Errors: domain.Unavailable when one has not; the rotation must not go on then, or that node could no longer open what others wrap.
func (n *Nodes) KeysChanged(ctx context.Context, members []string) error {
	missing := slices.Clone(members)
	err := n.ask(ctx, "keys.changed", nil, askTime, func(m *nats.Msg) bool {
		missing = slices.DeleteFunc(missing, func(node string) bool { return node == string(m.Data) })
		return len(missing) == 0
	})
	if err != nil || len(missing) == 0 {
		return err
	}
	return &domain.Error{
		Kind: domain.Unavailable, Msg: "these nodes do not follow a change of the master key: " + strings.Join(missing, ", "),
		Hint: "rotate again when cluster status finds nothing wrong; until then all keys are kept",
	}
}

// seal closes an answer for whoever asked and knows the secret.
func (n *Nodes) seal(text string, question []byte) []byte {
	drawn := make([]byte, n.aead.NonceSize())
	_, _ = rand.Read(drawn) // it never fails
	return n.aead.Seal(drawn, drawn, []byte(text), question)
}

func (n *Nodes) open(sealed, question []byte) (text string, ok bool) {
	if len(sealed) < n.aead.NonceSize() {
		return "", false
	}
	plain, err := n.aead.Open(nil, sealed[:n.aead.NonceSize()], sealed[n.aead.NonceSize():], question)
	return string(plain), err == nil
}
