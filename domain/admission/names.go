package admission

import (
	"fmt"

	"github.com/streampost/streampost/domain/authres"
)

// What can be wrong with the name that a client gives itself, in metrics and logs.
const (
	HeloMalformed = "malformed" // it is neither a domain nor an address in brackets
	HeloBare      = "bare"      // it has no dot
	HeloOurs      = "ours"      // it is this server's
	HeloOther     = "other"     // it is an address, and not the client's
)

var heloTexts = map[string]string{
	HeloMalformed: "is neither a domain name nor an address", HeloBare: "is not fully qualified", HeloOurs: "is the name of this server", HeloOther: "is not your address",
}

// Strictness is what is refused for the names of a client. The zero value refuses nothing.
type Strictness struct {
	Nameless bool // addresses without a name, or with one that has no address
	Mismatch bool // and those whose names lead elsewhere
	Helo     bool // whatever is wrong with the name that a client gives itself
}

// Name adds to an opinion what is known of a client's names: whether its address has one that leads back to it (RFC 8601 section 2.7.3), and what is wrong with the one that it gave itself, if
// anything is. Empty means that it was not looked for. What cannot be found out now refuses nobody.
func (o *Opinion) Name(reverse authres.Result, helo, address string, s Strictness) {
	if reverse != "" {
		o.Methods = append(o.Methods, authres.Method{Name: "iprev", Result: reverse, Properties: []authres.Property{{Type: "policy", Name: "iprev", Value: address}}})
	}
	if o.Known || o.Refusal != nil {
		return
	}
	switch {
	case reverse == authres.PermError && s.Nameless:
		o.Refusal = &Refusal{550, [3]int{5, 7, 25}, fmt.Sprintf("Refused: your address [%s] has no name in DNS (PTR) that has an address", address), "reverse"} // RFC 7372 section 3.3.
	case reverse == authres.Fail && s.Mismatch:
		o.Refusal = &Refusal{550, [3]int{5, 7, 25}, fmt.Sprintf("Refused: the names in DNS (PTR) of your address [%s] do not lead back to it", address), "reverse"}
	case helo != "" && s.Helo:
		o.Refusal = &Refusal{550, [3]int{5, 7, 1}, "Refused: the name in your EHLO or HELO " + heloTexts[helo], "helo"}
	}
}
