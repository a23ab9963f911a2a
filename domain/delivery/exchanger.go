package delivery

import (
	"slices"
	"strings"
)

// Exchanger is a host that takes mail for a domain: an MX record (RFC 5321 section 5.1). Host is empty in a null MX.
type Exchanger struct {
	Host       string
	Preference uint16
}

// NullMX tells whether a domain says that it takes no mail (RFC 7505 section 3).
func NullMX(all []Exchanger) bool { return len(all) == 1 && all[0].Host == "" }

// Exchangers puts hosts in the order in which they are tried: by preference, and those of the same one as shuffle has it (RFC 5321 section 5.1). The one that is this server ends the
// list, along with all that are not better; loop says that nothing is better. Records without a host among others are passed over.
func Exchangers(all []Exchanger, self string, shuffle func(n int, swap func(i, j int))) (hosts []string, loop bool) {
	all = slices.DeleteFunc(slices.Clone(all), func(x Exchanger) bool { return x.Host == "" })
	shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b Exchanger) int { return int(a.Preference) - int(b.Preference) })
	if n := slices.IndexFunc(all, func(x Exchanger) bool { return strings.EqualFold(x.Host, self) }); n >= 0 {
		limit := all[n].Preference
		all = slices.DeleteFunc(all, func(x Exchanger) bool { return x.Preference >= limit })
		loop = len(all) == 0
	}
	for _, x := range all {
		if !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, x.Host) }) {
			hosts = append(hosts, x.Host)
		}
	}
	return hosts, loop
}
