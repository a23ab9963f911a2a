package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/xdg-go/scram"
)

// scramSHA256 is SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
func scramSHA256(ctx context.Context, c *conn, initial []byte, ask func([]byte) ([]byte, error)) (door.Identity, error) {
	var who door.Identity
	var broken error // why the keys could not be had
	lookup := func(user string) (scram.StoredCredentials, error) {
		found, keys, err := c.directory.Scram(ctx, user)
		if err != nil {
			broken = err
			return scram.StoredCredentials{}, err
		}
		who = found
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: int(keys.Iterations)},
			StoredKey:  keys.StoredKey,
			ServerKey:  keys.ServerKey,
		}, nil
	}
	server, err := scram.SHA256.NewServer(lookup)
	if err != nil {
		return who, domain.Wrap(domain.Internal, err, "beginning a SCRAM exchange")
	}
	exchange := server.NewConversation()
	denied := func() (door.Identity, error) {
		return door.Identity{Login: exchange.Username()}, domain.Errorf(domain.Denied, "user name or password is wrong")
	}
	if initial == nil {
		if initial, err = ask(nil); err != nil {
			return who, err
		}
	}
	challenge, err := exchange.Step(string(initial))
	switch {
	case broken != nil && !domain.Is(broken, domain.Denied):
		return who, broken
	case broken != nil:
		return denied()
	case err != nil:
		return who, wire.Syntaxf("the response is not one of SCRAM-SHA-256")
	}
	proof, err := ask([]byte(challenge))
	if err != nil {
		return who, err
	}
	final, err := exchange.Step(string(proof))
	if err != nil || !exchange.Valid() {
		return denied()
	}
	if authz := exchange.AuthzID(); authz != "" && authz != exchange.Username() {
		return who, coded("AUTHORIZATIONFAILED", domain.Errorf(domain.Denied, "acting for another user is not allowed"))
	}
	// The server's signature goes as a challenge, which the client answers with an empty response (RFC 9051 section 6.2.2).
	_, err = ask([]byte(final))
	return who, err
}
