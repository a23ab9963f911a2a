package tlsrpt

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Bounds of Counts.
const (
	maxOctets   = 16 << 20 // see Counts.Most
	maxPolicies = 10       // of one domain on one day
	maxDetails  = 50       // of one policy; further ones are counted together by their type
	maxText     = 255      // octets of one text
	maxLines    = 50       // of a policy
)

// Counts is how TLS went, by day and domain. It is used by one goroutine at a time, and can be written as JSON and read again.
type Counts struct {
	Days map[string]*Day `json:"days"` // by their dates in UTC, as Date writes them
	Most int             `json:"-"`    // octets of the texts in all of them, about; 0 means 16 MiB. What comes then is not counted

	octets int
}

// Day is what was counted on one.
type Day struct {
	Domains map[string][]*Sum `json:"domains"`
}

// Sum is what was counted about one policy of a domain.
type Sum struct {
	Policy  Policy    `json:"policy"`
	Good    int       `json:"good,omitempty"`
	Bad     int       `json:"bad,omitempty"`
	Details []*Detail `json:"details,omitempty"`
}

// Detail is one kind of failure.
type Detail struct {
	Type    Type   `json:"type"`
	Host    string `json:"host,omitempty"`
	Address string `json:"address,omitempty"`
	Reason  string `json:"reason,omitempty"` // of the first
	Count   int    `json:"count"`
}

// Date names the day of a time (RFC 8460 section 4.1: days are those of UTC).
func Date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Add counts a session. It tells whether there was room.
func (c *Counts) Add(at time.Time, s *Session) bool {
	if c.Days == nil {
		c.Days = map[string]*Day{}
	}
	day := c.Days[Date(at)]
	if day == nil {
		day = &Day{Domains: map[string][]*Sum{}}
		c.Days[Date(at)] = day
	}
	sum := c.sum(day, &s.Policy)
	if sum == nil {
		return false
	}
	if s.Failure == "" {
		sum.Good++
		return true
	}
	sum.Bad++
	for _, d := range sum.Details {
		if d.Type == s.Failure && d.Host == short(s.Host) && d.Address == short(s.Address) {
			d.Count++
			return true
		}
	}
	detail := &Detail{Type: s.Failure, Host: short(s.Host), Address: short(s.Address), Reason: short(s.Reason), Count: 1}
	if len(sum.Details) >= maxDetails || c.full() {
		for _, d := range sum.Details {
			if d.Type == s.Failure && d.Host == "" {
				d.Count++
				return true
			}
		}
		detail = &Detail{Type: s.Failure, Count: 1} // There are as many of these as types.
	}
	c.octets += detail.octets()
	sum.Details = append(sum.Details, detail)
	return true
}

// sum finds what is counted about a policy; nil when there is no room for it.
func (c *Counts) sum(day *Day, p *Policy) *Sum {
	all := day.Domains[p.Domain]
	lines := shorts(p.Lines)
	for _, s := range all {
		if s.Policy.Kind == p.Kind && slices.Equal(s.Policy.Lines, lines) {
			return s
		}
	}
	if c.full() || len(all) >= maxPolicies {
		return nil
	}
	s := &Sum{Policy: Policy{Kind: p.Kind, Domain: p.Domain, Lines: lines, Hosts: shorts(p.Hosts)}}
	c.octets += s.octets()
	day.Domains[strings.Clone(p.Domain)] = append(all, s)
	return s
}

func (c *Counts) full() bool { return c.octets > cmp.Or(c.Most, maxOctets) }

// Remove forgets what was counted about a domain on a day.
func (c *Counts) Remove(date, domain string) {
	day := c.Days[date]
	if day == nil {
		return
	}
	for _, s := range day.Domains[domain] {
		c.octets -= s.octets()
	}
	if delete(day.Domains, domain); len(day.Domains) == 0 {
		delete(c.Days, date)
	}
}

// Measure has Counts that were read know how large they are, and removes what nobody can have written.
func (c *Counts) Measure() {
	c.octets = 0
	for date, day := range c.Days {
		if _, is := Begin(date); !is || day == nil {
			delete(c.Days, date)
			continue
		}
		for name, all := range day.Domains {
			all = slices.DeleteFunc(all, func(s *Sum) bool { return s == nil || slices.Contains(s.Details, nil) })
			if day.Domains[name] = all; len(all) == 0 {
				delete(day.Domains, name)
			}
			for _, s := range all {
				c.octets += s.octets()
			}
		}
		if len(day.Domains) == 0 {
			delete(c.Days, date)
		}
	}
}

// Before lists the dates that have ended before a time, the oldest first.
func (c *Counts) Before(now time.Time) (dates []string) {
	for date := range c.Days {
		if date < Date(now) {
			dates = append(dates, date)
		}
	}
	slices.Sort(dates)
	return dates
}

// Domains lists those of a day, in order.
func (c *Counts) Domains(date string) (names []string) {
	if day := c.Days[date]; day != nil {
		for name := range day.Domains {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// small is about what an entry takes beside its texts.
const small = 100

func (d *Detail) octets() int {
	return small + len(d.Host) + len(d.Address) + len(d.Reason)
}

func (s *Sum) octets() int {
	n := small + len(s.Policy.Domain)
	for _, line := range slices.Concat(s.Policy.Lines, s.Policy.Hosts) {
		n += small + len(line)
	}
	for _, d := range s.Details {
		n += d.octets()
	}
	return n
}

func short(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

func shorts(all []string) (some []string) {
	for _, s := range all[:min(len(all), maxLines)] {
		some = append(some, short(s))
	}
	return some
}

// sorted gives what was counted about a domain, its failures by number.
func (d *Day) sorted(domain string) []*Sum {
	all := slices.Clone(d.Domains[domain])
	for _, s := range all {
		slices.SortStableFunc(s.Details, func(a, b *Detail) int { return cmp.Compare(b.Count, a.Count) })
	}
	return all
}
