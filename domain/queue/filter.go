package queue

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Filter selects entries. The zero Filter selects all; fields that are set must all fit. Texts are compared in any case.
type Filter struct {
	IDs       []ID   `json:"ids,omitempty"`
	Sender    string `json:"sender,omitempty"` // an address; "<>" is the null sender
	Recipient string `json:"recipient,omitempty"`
	Domain    string `json:"domain,omitempty"` // of the recipients
	Error     string `json:"error,omitempty"`  // part of the last error
	Name      string `json:"name,omitempty"`   // the id, as James calls it
	Before    int64  `json:"before,omitempty"` // arrived before this, in Unix milliseconds
	After     int64  `json:"after,omitempty"`  // arrived at or after this
	Held      *bool  `json:"held,omitempty"`
	Delayed   *bool  `json:"delayed,omitempty"` // whether it is due later than Now
	Now       int64  `json:"now,omitempty"`

	// Of parked mail:
	Cause         string `json:"cause,omitempty"`         // its code
	RemoteAddress string `json:"remoteAddress,omitempty"` // where it came from
	RemoteHost    string `json:"remoteHost,omitempty"`
	ParkedBefore  int64  `json:"parkedBefore,omitempty"` // for the last time before this, in Unix milliseconds
	ParkedAfter   int64  `json:"parkedAfter,omitempty"`  // at or after this
	MaxTimes      int    `json:"maxTimes,omitempty"`     // parked at most so often
}

// All reports whether the filter leaves nothing out.
func (f *Filter) All() bool {
	return len(f.IDs) == 0 && f.Sender == "" && f.Recipient == "" && f.Domain == "" && f.Error == "" && f.Name == "" && f.Before == 0 && f.After == 0 && f.Held == nil &&
		f.Delayed == nil && f.Cause == "" && f.RemoteAddress == "" && f.RemoteHost == "" && f.ParkedBefore == 0 && f.ParkedAfter == 0 && f.MaxTimes == 0
}

// Check refuses numbers that cannot be meant: they would leave nothing out. Errors: domain.Invalid.
func (f *Filter) Check() error {
	for _, n := range []int64{f.Before, f.After, f.Now, f.ParkedBefore, f.ParkedAfter, int64(f.MaxTimes)} {
		if n < 0 {
			return domain.Errorf(domain.Invalid, "a filter has the number %d: times and counts are not negative", n)
		}
	}
	return nil
}

// Fits tells whether an entry is selected.
func (f *Filter) Fits(i *Item) bool {
	switch {
	case len(f.IDs) > 0 && !slices.Contains(f.IDs, i.ID):
	case f.Name != "" && f.Name != i.ID.String():
	case f.Before != 0 && i.Arrived >= f.Before, i.Arrived < f.After:
	case f.Held != nil && *f.Held != i.Held:
	case f.Delayed != nil && *f.Delayed != (i.Due > f.Now):
	case f.Domain != "" && !i.within(f.Domain):
	case f.Sender != "" && !strings.EqualFold(strings.TrimSuffix(strings.TrimPrefix(f.Sender, "<"), ">"), i.Sender()):
	case f.Recipient != "" && !i.names(f.Recipient):
	case f.Error != "" && !holds(i.Error, f.Error):
	case !f.fitsParking(i.parking):
	default:
		return true
	}
	return false
}

func (f *Filter) fitsParking(p *Parking) bool {
	if p == nil {
		p = &Parking{}
	}
	switch {
	case f.Cause != "" && !strings.EqualFold(f.Cause, p.Cause):
	case f.RemoteAddress != "" && f.RemoteAddress != p.RemoteAddress:
	case f.RemoteHost != "" && !strings.EqualFold(f.RemoteHost, p.RemoteHost):
	case f.ParkedBefore != 0 && p.Last >= f.ParkedBefore, p.Last < f.ParkedAfter:
	case f.MaxTimes > 0 && p.Times > f.MaxTimes:
	default:
		return true
	}
	return false
}

// within tells whether the entry goes to a domain, or to an address in it where it has no domain of its own.
func (i *Item) within(domain string) bool {
	if i.to.name != "" {
		return strings.EqualFold(domain, i.to.name)
	}
	_, rest, _ := strings.Cut(i.people, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		if at := strings.LastIndexByte(line, '@'); strings.EqualFold(line[at+1:], domain) {
			return true
		}
	}
	return false
}

// names tells whether an address is among the recipients.
func (i *Item) names(address string) bool {
	_, rest, _ := strings.Cut(i.people, "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		if strings.EqualFold(line, address) {
			return true
		}
	}
	return false
}

// holds looks for a part of a text in any case of ASCII letters, without making another text of it: a list may look at a million.
func holds(text, part string) bool {
	first := lower(part[0])
	for n := 0; n+len(part) <= len(text); n++ {
		if lower(text[n]) == first && strings.EqualFold(text[n:n+len(part)], part) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// List gives entries that fit, in order of arrival here, from the one with the id on, or all if it is 0, and at most so many. next is where to go on; 0 at the end.
func (s *Stock) List(f *Filter, from ID, most int) (all []*Item, next ID) {
	begun := from == 0
	for _, i := range s.order[min(s.first, len(s.order)):] {
		if begun = begun || i.ID == from; !begun || i.gone || !f.Fits(i) {
			continue
		}
		if len(all) == most {
			return all, i.ID
		}
		all = append(all, i)
	}
	return all, 0
}

// Select gives the ids of all entries that fit.
func (s *Stock) Select(f *Filter) (ids []ID) {
	for _, i := range s.order[min(s.first, len(s.order)):] {
		if !i.gone && f.Fits(i) {
			ids = append(ids, i.ID)
		}
	}
	return ids
}
