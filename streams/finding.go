package streams

import (
	"fmt"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Finding is one thing that is wrong with the log. It is the inner error of domain.Corrupt errors of this package.
type Finding struct {
	Stream  string           `json:"stream"`
	Account domain.AccountID `json:"account,omitempty"`
	Tx      domain.Tx        `json:"tx,omitempty"`  // the transaction that is, or should be, at Seq
	Seq     domain.Seq       `json:"seq,omitempty"` // 0 when it concerns the stream as a whole
	What    string           `json:"what"`
}

// Error gives one line: "ACCOUNTS_3, account 0123456789abcdef, transaction 7, sequence 42: ...".
func (f *Finding) Error() string {
	var b strings.Builder
	b.WriteString(f.Stream)
	if f.Account != "" {
		fmt.Fprintf(&b, ", account %s", f.Account)
	}
	if f.Tx != 0 {
		fmt.Fprintf(&b, ", transaction %d", f.Tx)
	}
	if f.Seq != 0 {
		fmt.Fprintf(&b, ", sequence %d", f.Seq)
	}
	b.WriteString(": ")
	b.WriteString(f.What)
	return b.String()
}

func (f *Finding) corrupt() error {
	return &domain.Error{
		Kind: domain.Corrupt,
		Msg:  "the log is damaged",
		Hint: "\"log verify\" shows the extent; restore the log from a backup or a replica",
		Err:  f,
	}
}
