package sasl

import (
	"context"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/xdg-go/scram"
)

// scramName reads the name of a SCRAM mechanism.
func scramName(name string) (digest door.Digest, plus, ok bool) {
	name, plus = strings.CutSuffix(name, "-PLUS")
	switch name {
	case "SCRAM-SHA-256":
		return door.SHA256, plus, true
	case "SCRAM-SHA-1":
		return door.SHA1, plus, true
	}
	return 0, false, false
}

// scramExchange is SCRAM (RFC 5802, RFC 7677) with and without channel binding.
type scramExchange struct {
	*Exchange
	digest door.Digest
	plus   bool
	talk   *scram.ServerConversation
	found  door.Identity // whose keys were used; none for users who do not exist
}

// first takes the client's first message.
func (x *scramExchange) first(ctx context.Context, response []byte) ([]byte, step, error) {
	if response == nil {
		return nil, x.first, nil
	}
	binding, err := x.binding(string(response))
	if err != nil {
		return nil, nil, err
	}
	var broken error // why there are no keys
	hash := scram.SHA256
	if x.digest == door.SHA1 {
		hash = scram.SHA1
	}
	server, err := hash.NewServer(func(user string) (scram.StoredCredentials, error) {
		var keys door.ScramKeys
		x.Named = user
		if broken = x.mechanisms.Directory.Admit(ctx, x.client.Source, user); broken == nil {
			x.found, keys, broken = x.mechanisms.Directory.Scram(ctx, x.digest, user)
		}
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: int(keys.Iterations)},
			StoredKey:  keys.StoredKey, ServerKey: keys.ServerKey,
		}, broken
	})
	if err != nil {
		return nil, nil, domain.Wrap(domain.Internal, err, "beginning a SCRAM exchange")
	}
	if x.plus {
		x.talk = server.NewConversationWithChannelBindingRequired(binding)
	} else { // RFC 5802 section 6: a client that could bind, and says that we cannot, was lied to about what we offer.
		x.talk = server.NewConversationWithChannelBinding(binding)
	}
	challenge, err := x.talk.Step(string(response))
	switch {
	case broken != nil:
		return nil, nil, broken
	case err != nil && strings.HasPrefix(string(response), "y,"):
		return nil, nil, domain.Wrap(domain.Denied, err, "channel binding") // an attack, and no slip of the pen
	case err != nil:
		return nil, nil, ErrSyntax
	}
	return []byte(challenge), x.final, nil
}

// binding is what the exchange will be bound to. Its kind is the client's to choose (RFC 5802 section 6), and only together with a mechanism
// that is bound. Without a choice it is what the client could have had.
func (x *scramExchange) binding(first string) (scram.ChannelBinding, error) {
	possible := x.client.bindings()
	kind, chosen := strings.CutPrefix(first, "p=")
	kind, _, _ = strings.Cut(kind, ",")
	if chosen != x.plus {
		return scram.ChannelBinding{}, ErrSyntax
	}
	if !chosen {
		if len(possible) == 0 || !x.mechanisms.Offers(x.Mechanism+"-PLUS", x.client) {
			return scram.ChannelBinding{}, nil
		}
		return possible[0], nil
	}
	for _, b := range possible {
		if string(b.Type) == kind {
			return b, nil
		}
	}
	return scram.ChannelBinding{}, domain.Errorf(domain.Denied, "the channel binding %.30q is not supported", kind)
}

// final takes the client's proof.
func (x *scramExchange) final(_ context.Context, response []byte) ([]byte, step, error) {
	signature, err := x.talk.Step(string(response))
	if err == nil && !x.talk.Valid() || x.found.Account == "" {
		err = errWrong
	}
	if err != nil {
		err = domain.Wrap(domain.Denied, err, "checking a SCRAM proof")
	}
	x.mechanisms.Directory.Tried(x.client.Source, x.Named, err)
	if err != nil {
		return nil, nil, err
	}
	if identity := x.talk.AuthzID(); identity != "" && !strings.EqualFold(identity, x.Named) {
		return nil, nil, ErrActing
	}
	// The server's signature goes as a challenge, which the client answers with an empty response, since these protocols have no room for it in
	// their last line (RFC 9051 section 6.2.2, RFC 4954 section 4, RFC 5034 section 4).
	return []byte(signature), func(_ context.Context, response []byte) ([]byte, step, error) {
		if len(response) != 0 {
			return nil, nil, ErrSyntax
		}
		x.who = x.mechanisms.placed(x.client, x.found)
		return nil, nil, nil
	}, nil
}
