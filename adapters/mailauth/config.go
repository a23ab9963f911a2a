package mailauth

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
)

// Resolver asks DNS. Errors: domain.NotFound for a name that does not exist, domain.Unavailable for what cannot be told now, others for what can never be.
type Resolver interface {
	TXT(ctx context.Context, name string) ([]string, error)
	MX(ctx context.Context, name string) ([]delivery.Exchanger, error)
	Values(ctx context.Context, name, kind string) ([]string, error) // of A and AAAA records, as text
	PTR(ctx context.Context, address netip.Addr) ([]string, error)
}

// Policy is what follows from results. A zero field is its first value.
type Policy struct {
	Reject     authres.Action // of a DMARC policy "reject"; zero: Accept
	Quarantine authres.Action // of a DMARC policy "quarantine"
	SPFFail    authres.Action // of SPF "fail" where DMARC does not pass
	TempError  authres.Action // where a result that decides cannot be told now
}

// Config is what a Verifier works with. Resolver and ID are needed.
type Config struct {
	Resolver Resolver
	ID       string // of this server in the field (RFC 8601 section 2.5)
	Policy   Policy
	Limits   Limits

	Sample  func() int                         // 0 to 99, for "pct"; nil means math/rand/v2
	Count   func(method string, result string) // nil counts nothing
	Decided func(action string)                // likewise
	Logger  *slog.Logger                       // nil discards
}

// Limits bound what one message can cost. A zero field means its default.
type Limits struct {
	Time       time.Duration // for all lookups together, which go on at the same time; 6 seconds. What the client's own name servers can hold up in SPF has a third of it
	Lookups    int           // of SPF, of which RFC 7208 section 4.6.4 counts 10 terms; 120
	Signatures int           // that are checked; 8
	Signature  int           // octets of one; 16 KiB
	Signed     int           // names in its h= tag; 100
	Work       int           // names in all h= tags, each times the fields of the header; 200,000
	Fields     int           // in the header of a message whose signatures are checked; 2,000
	Key        int           // octets of a key's record; 2,048, which holds RSA keys of 8,192 bits
	Blank      int           // octets of blank lines in a row, which have to be kept until it is known whether they are the last; 64 KiB
	Authors    int           // domains in From, and fields of that name; 5. Nobody can say who of a crowd is shown
	Addresses  int           // in one of them; 100
	From       int           // octets of one; 64 KiB, of which mail programs are shown no more
}

func (c *Config) setDefaults() {
	l := &c.Limits
	l.Time = cmp.Or(l.Time, 6*time.Second)
	l.Lookups = cmp.Or(l.Lookups, 120)
	l.Signatures = cmp.Or(l.Signatures, 8)
	l.Signature = cmp.Or(l.Signature, 16<<10)
	l.Signed = cmp.Or(l.Signed, 100)
	l.Work = cmp.Or(l.Work, 200_000)
	l.Fields = cmp.Or(l.Fields, 2000)
	l.Key = cmp.Or(l.Key, 2048)
	l.Blank = cmp.Or(l.Blank, 64<<10)
	l.Authors = cmp.Or(l.Authors, 5)
	l.Addresses = cmp.Or(l.Addresses, 100)
	l.From = cmp.Or(l.From, 64<<10)
	if c.Sample == nil {
		c.Sample = func() int { return rand.IntN(100) }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}
