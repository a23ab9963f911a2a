package door

import (
	"context"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// Identifier finds whom a name in an access control list (RFC 4314 section 2) means: "anyone", or a user by any address, with "-" before it where rights are
// taken away. An id is a name as well, that of an account that was erased too. Errors: domain.NotFound, domain.Unavailable.
func (d *Directory) Identifier(ctx context.Context, name string) (account.Identifier, error) {
	name, negative := strings.CutPrefix(name, "-")
	who := account.Identifier(name)
	if who != account.Anyone {
		found, err := d.Lookup(ctx, name)
		switch {
		case err == nil:
			who = account.Identifier(found.ID)
		case domain.Is(err, domain.Invalid), domain.Is(err, domain.NotFound):
			return "", domain.Errorf(domain.NotFound, "there is no user of that name")
		case !domain.Is(err, domain.Erased):
			return "", err
		}
	}
	if negative {
		who = who.Negative()
	}
	return who, nil
}

// NameOf gives the name by which people know an identifier: a login, or the id of an account that is gone. Error: domain.Unavailable.
func (d *Directory) NameOf(ctx context.Context, who account.Identifier) (string, error) {
	of, negative := who.Subject()
	name := string(of)
	if of != account.Anyone {
		found, err := d.Lookup(ctx, name)
		switch {
		case err == nil:
			name = found.Login
		case !domain.Is(err, domain.NotFound) && !domain.Is(err, domain.Erased):
			return "", err
		}
	}
	if negative {
		name = "-" + name
	}
	return name, nil
}
