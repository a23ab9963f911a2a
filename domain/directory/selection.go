package directory

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
)

// Selection says which accounts are meant.
type Selection struct {
	Names   []string // addresses, ids, and patterns for addresses, see Matches
	Domains []string // all accounts with an address in them
	All     bool     // all accounts; nothing else is said then
}

// Problem is a name that selects nothing, and why.
type Problem struct {
	Name string
	Err  error
}

// Select finds the accounts of a selection, in order of login, each once, and what selects none.
// Errors: domain.Invalid when nothing is selected, or everything and something.
func (s *State) Select(sel Selection) (chosen []*Account, problems []Problem, err error) {
	switch named := len(sel.Names)+len(sel.Domains) > 0; {
	case sel.All && named:
		return nil, nil, domain.Errorf(domain.Invalid, "all means every account: leave out names and domains")
	case sel.All:
		return s.Sorted(), nil, nil
	case !named:
		return nil, nil, &domain.Error{Kind: domain.Invalid, Msg: "it is not said which accounts are meant", Hint: "name accounts, a domain or a pattern such as *@example.org, or say all"}
	}
	seen := map[domain.AccountID]bool{}
	add := func(a *Account) {
		if !seen[a.ID] {
			seen[a.ID] = true
			chosen = append(chosen, a)
		}
	}
	addAll := func(name string, means func(address string) bool) {
		found := false
		for _, a := range s.Accounts {
			if slices.ContainsFunc(a.Addresses, means) {
				found = true
				add(a)
			}
		}
		if !found {
			problems = append(problems, Problem{name, domain.Errorf(domain.NotFound, "no account has an address in or like %s", name)})
		}
	}
	for _, name := range sel.Names {
		a, err := s.named(name)
		switch {
		case err == nil:
			add(a)
		case Wild(name):
			pattern := strings.ToLower(name)
			addAll(name, func(address string) bool { return Matches(pattern, address) })
		default:
			problems = append(problems, Problem{name, err})
		}
	}
	for _, name := range sel.Domains {
		host, err := s.localDomain(name)
		if err != nil {
			problems = append(problems, Problem{name, err})
			continue
		}
		addAll(name, func(address string) bool { return domainOf(address) == host })
	}
	slices.SortFunc(chosen, func(a, b *Account) int { return strings.Compare(a.Login(), b.Login()) })
	return chosen, problems, nil
}

// named finds an account by its id or an address.
func (s *State) named(name string) (*Account, error) {
	if id, err := domain.ParseAccountID(name); err == nil {
		return s.find(id)
	}
	return s.Find(name)
}

// Wild tells whether a name is a pattern.
func Wild(name string) bool { return strings.ContainsAny(name, "*?") }

// Matches tells whether an address fits a pattern, in which * stands for any text, also none, and ? for one character. Both are in lower case.
func Matches(pattern, address string) bool {
	// star and retry are where to go on when the text behind the last * does not fit: it then stands for one character more.
	star, retry := -1, 0
	p, at := 0, 0
	for at < len(address) {
		_, size := utf8.DecodeRuneInString(address[at:])
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, at
			p++
		case p < len(pattern) && pattern[p] == '?':
			p, at = p+1, at+size
		case p < len(pattern) && strings.HasPrefix(pattern[p:], address[at:at+size]):
			p, at = p+size, at+size
		case star >= 0:
			_, size := utf8.DecodeRuneInString(address[retry:])
			retry += size
			p, at = star+1, retry
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
