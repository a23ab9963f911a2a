package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// DNSList is one member of smtp.lists.zones.
type DNSList struct {
	Zone    string
	Score   int
	Allow   bool
	Answers [][2]netip.Addr // ranges, both ends included; none means those that are usual
}

// scores are the words for what a list leads to alone.
var scores = map[string]int{"refuse": 100, "junk": 50, "tag": 0}

// ParseList reads a list such as
//
//	zen.example.org score=60 answer=127.0.0.2-127.0.0.9 answer=127.0.1.0/24
func ParseList(text string) (DNSList, error) {
	words := strings.Fields(text)
	l := DNSList{Score: scores["refuse"]}
	wrong := func(what string) (DNSList, error) {
		return l, fmt.Errorf(`the list %q %s: it reads as zen.example.org score=60 answer=127.0.0.2-127.0.0.9`, text, what)
	}
	for n, word := range words {
		score, scored := strings.CutPrefix(word, "score=")
		answer, answers := strings.CutPrefix(word, "answer=")
		said, known := scores[word]
		switch {
		case n == 0:
			l.Zone = strings.Trim(strings.ToLower(word), ".")
			if l.Zone == "" || len(l.Zone) > 180 || strings.ContainsFunc(l.Zone, func(r rune) bool {
				return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
			}) {
				return wrong("has no name of a zone")
			}
		case known:
			l.Score = said
		case word == "allow":
			l.Allow = true
		case scored:
			var err error
			if l.Score, err = strconv.Atoi(score); err != nil || l.Score < -1000 || l.Score > 1000 {
				return wrong("has a score that is no number from -1000 to 1000")
			}
		case answers:
			r, err := answerRange(answer)
			if err != nil {
				return wrong(err.Error())
			}
			l.Answers = append(l.Answers, r)
		default:
			return wrong("has something strange in " + word)
		}
	}
	if l.Zone == "" {
		return wrong("names no zone")
	}
	return l, nil
}

// answerRange reads an address, a range of two, or a network.
func answerRange(text string) (r [2]netip.Addr, err error) {
	from, to, both := strings.Cut(text, "-")
	if network, err := netip.ParsePrefix(text); err == nil && network.Addr().Is4() {
		first := network.Masked().Addr()
		last := first.As4()
		for bit := network.Bits(); bit < 32; bit++ {
			last[bit/8] |= 1 << (7 - bit%8)
		}
		return [2]netip.Addr{first, netip.AddrFrom4(last)}, nil
	}
	if !both {
		to = from
	}
	a, err := netip.ParseAddr(from)
	b, bad := netip.ParseAddr(to)
	if err != nil || bad != nil || !a.Is4() || !b.Is4() || b.Less(a) {
		return r, fmt.Errorf("has answer=%s, which is no IPv4 address, range or network", text)
	}
	return [2]netip.Addr{a, b}, nil
}

// maxLists bounds the questions about one client.
const maxLists = 32

func (l *Lists) check() (errs []error) {
	for _, text := range l.Zones {
		if _, err := ParseList(text); err != nil {
			errs = append(errs, fmt.Errorf("smtp.lists.zones: %w", err))
		}
	}
	if len(l.Zones) > maxLists {
		errs = append(errs, fmt.Errorf("smtp.lists.zones has more than %d members: each is asked about each client", maxLists))
	}
	if l.Time < 100*time.Millisecond || l.Time > time.Minute {
		errs = append(errs, errors.New("smtp.lists.time is between 100ms and 1m: the client waits"))
	}
	if l.Parallel < 1 {
		errs = append(errs, errors.New("smtp.lists.parallel is at least 1"))
	}
	return errs
}

func (g *Greylist) check() (errs []error) {
	if g.Delay < time.Second || g.Window <= g.Delay || g.Keep < g.Window || g.Keep > 366*24*time.Hour {
		errs = append(errs, errors.New("smtp.greylist: delay is at least 1s, window more than delay, and keep not less than window and a year at most"))
	}
	if g.Entries < 1_000 || g.Prove < 0 {
		errs = append(errs, errors.New("smtp.greylist: entries is at least 1,000, and prove not negative"))
	}
	return errs
}
