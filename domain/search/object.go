package search

import "github.com/streampost/streampost/domain"

// In gives the key as it is meant in one account: object identifiers of others are on none of its messages.
func In(id domain.AccountID, k Key) Key {
	each := func(keys []Key) []Key {
		all := make([]Key, len(keys))
		for i, k := range keys {
			all[i] = In(id, k)
		}
		return all
	}
	switch k := k.(type) {
	case And:
		return And(each(k))
	case Or:
		return Or(each(k))
	case Not:
		return Not{In(id, k.Key)}
	case Fuzzy:
		return Fuzzy{In(id, k.Key)}
	case EmailID:
		if k.Account != id {
			return None{}
		}
	case ThreadID:
		if k.Account != id {
			return None{}
		}
	}
	return k
}
