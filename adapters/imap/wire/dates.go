package wire

import (
	"strings"
	"time"
)

// Layouts of RFC 9051 section 9. Zones are numeric, and the server writes UTC, since an instant is all that it keeps.
const (
	dateTimeLayout = "02-Jan-2006 15:04:05 -0700"
	dateLayout     = "2-Jan-2006"
)

// The first and the last second that a date-time in UTC can name.
var (
	firstDateTime = time.Date(0, time.January, 1, 0, 0, 0, 0, time.UTC)
	lastDateTime  = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
)

// ExpectDateTime demands a date-time: `" 7-Feb-1994 21:52:25 -0800"`, the day in two places. One that in UTC has no year of four digits becomes the nearest
// that has.
func (d *Decoder) ExpectDateTime(t *time.Time) bool {
	var s string
	if !d.expected(d.Quoted(&s), "a date and time in quotes") {
		return false
	}
	if strings.HasPrefix(s, " ") { // date-day-fixed
		s = "0" + s[1:]
	}
	if len(s) == len(dateTimeLayout)-1 && s[1] == '-' { // some clients write the day in one place.
		s = "0" + s
	}
	v, err := time.Parse(dateTimeLayout, s)
	if err != nil {
		return d.syntax("a date and time looks like \"17-Jul-1996 02:44:25 -0700\"")
	}
	switch v = v.UTC(); {
	case v.Before(firstDateTime):
		v = firstDateTime
	case v.After(lastDateTime):
		v = lastDateTime
	}
	*t = v
	return true
}

// ExpectDate demands a date, with or without quotes: 1-Feb-1994. It gives that day's first second in UTC.
func (d *Decoder) ExpectDate(t *time.Time) bool {
	var s string
	if !d.expected(d.Quoted(&s) || d.Atom(&s), "a date") {
		return false
	}
	v, err := time.Parse(dateLayout, s)
	if err != nil {
		return d.syntax("a date looks like 1-Feb-1994")
	}
	*t = v
	return true
}

// months serves AppendDateTime.
const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// AppendDateTime appends an INTERNALDATE in UTC and in quotes (RFC 9051 section 9, date-time). It does what time.AppendFormat does, without
// making a time.Time of each of a mailbox's messages.
func AppendDateTime(b []byte, unix int64) []byte {
	const day = 24 * 3600
	days, secs := unix/day, unix%day
	if secs < 0 {
		days, secs = days-1, secs+day
	}
	// Days since 1 March of year 0, in eras of 400 years that begin there, so that a leap day ends a year.
	days += 719468
	era := days / 146097
	if days < 0 {
		era = (days - 146096) / 146097
	}
	inEra := days - era*146097
	year := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*year + year/4 - year/100)
	shifted := (5*inYear + 2) / 153 // months since March
	dayOfMonth := inYear - (153*shifted+2)/5 + 1
	month := shifted + 2 // from 0, January
	year += era * 400
	if month >= 12 {
		month, year = month-12, year+1
	}
	year = min(max(year, 0), 9999) // four digits are all that the grammar has.
	two := func(b []byte, n int64) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }
	b = append(b, '"')
	b = two(b, dayOfMonth)
	b = append(b, '-')
	b = append(b, months[month*3:month*3+3]...)
	b = append(b, '-')
	b = two(two(b, year/100), year%100)
	b = append(b, ' ')
	b = append(two(b, secs/3600), ':')
	b = append(two(b, secs/60%60), ':')
	b = two(b, secs%60)
	return append(b, ` +0000"`...)
}
