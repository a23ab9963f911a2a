package message

import (
	"strconv"
	"strings"
	"time"
)

// ParseDate reads a Date field's value (RFC 5322 sections 3.3 and 4.3) and what senders write in its place: missing or wrong weekdays,
// two-digit years, named zones, asctime and ISO 8601 forms, in any sensible order. The time is in the zone that the value names.
func ParseDate(value string) (time.Time, bool) {
	var d dateParts
	for value = strings.TrimSpace(value); value != ""; {
		if value[0] == '(' {
			_, n := uncomment(value)
			value = value[n:]
			continue
		}
		end := strings.IndexAny(value, " \t,(")
		switch {
		case end == 0:
			value = value[1:]
			continue
		case end < 0:
			end = len(value)
		}
		if !d.word(value[:end]) {
			return time.Time{}, false
		}
		value = value[end:]
	}
	return d.time()
}

// parseDate gives Unix seconds, 0 when the value is no date.
func parseDate(value string) int64 {
	if t, ok := ParseDate(value); ok {
		return t.Unix()
	}
	return 0
}

// dateParts is what was found of a date. Day and month count from 1; year is -1 and clock false while missing.
type dateParts struct {
	day, month, year     int
	hasYear, clock       bool
	hour, minute, second int
	zone                 int // seconds east of UTC
	zoned                bool
}

var (
	monthNames = [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	zoneHours  = map[string]int{"edt": -4, "est": -5, "cdt": -5, "cst": -6, "mdt": -6, "mst": -7, "pdt": -7, "pst": -8, "cet": 1, "cest": 2,
		"met": 1, "mest": 2, "bst": 1, "jst": 9, "msk": 3}
)

// word takes one word of the date. Words of no meaning are passed over; one with an impossible meaning is an error.
func (d *dateParts) word(w string) bool {
	w = strings.ToLower(strings.TrimRight(w, ".;"))
	switch {
	case w == "":
		return true
	case len(w) > 10 && w[4] == '-' && w[7] == '-' && w[10] == 't': // ISO 8601.
		return d.word(w[:10]) && d.word(w[11:])
	case strings.Count(w, "-") == 2 && w[0] != '-':
		return d.dashed(w)
	case strings.Contains(w, ":") && w[0] != '+' && w[0] != '-':
		return d.time24(w)
	case w[0] == '+' || w[0] == '-':
		return d.offset(w)
	}
	if n, err := strconv.Atoi(w); err == nil {
		return d.number(n, len(w))
	}
	if m := nameIndex(monthNames[:], w); m >= 0 && d.month == 0 {
		d.month = m + 1
		return true
	}
	switch {
	case w == "am" || w == "pm":
		if d.clock {
			d.hour = d.hour % 12
			if w == "pm" {
				d.hour += 12
			}
		}
	case w == "z" || w == "ut" || w == "utc" || w == "gmt":
		d.zoned = true
	case !d.zoned && d.clock:
		for _, prefix := range []string{"gmt", "utc"} {
			if rest, ok := strings.CutPrefix(w, prefix); ok && rest != "" {
				return d.offset(rest)
			}
		}
		if hours, ok := zoneHours[w]; ok {
			d.zone, d.zoned = hours*3600, true
		}
	}
	return true // A weekday, an unknown zone (RFC 5322 section 4.3: as if -0000) or noise.
}

func nameIndex(names []string, w string) int {
	for i, n := range names {
		if strings.HasPrefix(w, n) {
			return i
		}
	}
	return -1
}

func (d *dateParts) number(n, digits int) bool {
	switch {
	case digits <= 2 && d.day == 0:
		d.day = n
	case !d.hasYear && digits <= 4:
		d.year, d.hasYear = n, true
		if digits == 2 { // RFC 5322 section 4.3.
			d.year += 1900
			if n < 50 {
				d.year += 100
			}
		} else if digits == 3 {
			d.year += 1900
		}
	}
	return true
}

// dashed is "2-Jan-2006" or "2006-01-02".
func (d *dateParts) dashed(w string) bool {
	p := strings.Split(w, "-")
	if len(p[0]) == 4 {
		p[0], p[2] = p[2], p[0]
	}
	day, err1 := strconv.Atoi(p[0])
	year, err2 := strconv.Atoi(p[2])
	month, err3 := strconv.Atoi(p[1])
	if err3 != nil {
		if month = nameIndex(monthNames[:], p[1]) + 1; month > 0 {
			err3 = nil
		}
	}
	if err1 != nil || err2 != nil || err3 != nil || day < 1 {
		return false
	}
	d.day, d.month = day, month
	return d.number(year, len(p[2]))
}

// time24 is "15:04", "15:04:05" or "15:04:05.678", with a zone directly behind it in ISO 8601.
func (d *dateParts) time24(w string) bool {
	if i := strings.IndexAny(w, "+-z"); i > 0 {
		zone := w[i:]
		w = w[:i]
		if zone == "z" {
			d.zoned = true
		} else if !d.offset(zone) {
			return false
		}
	}
	pm := strings.HasSuffix(w, "pm")
	w = strings.TrimSuffix(strings.TrimSuffix(w, "pm"), "am")
	w, _, _ = strings.Cut(w, ".")
	p := strings.Split(w, ":")
	if len(p) > 3 || d.clock {
		return false
	}
	var n [3]int
	for i, s := range p {
		v, err := strconv.Atoi(s)
		if err != nil || v < 0 || len(s) > 2 {
			return false
		}
		n[i] = v
	}
	d.clock, d.hour, d.minute, d.second = true, n[0], n[1], n[2]
	if pm && d.hour < 12 {
		d.hour += 12
	}
	return true
}

// offset is "+0100", "+01:00" or "+1".
func (d *dateParts) offset(w string) bool {
	if d.zoned {
		return true
	}
	digits := strings.ReplaceAll(w[1:], ":", "")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || w[0] != '+' && w[0] != '-' {
		return true
	}
	switch len(digits) {
	case 1, 2:
		d.zone = n * 3600
	case 3, 4:
		d.zone = n/100*3600 + n%100*60
	default:
		return true
	}
	if w[0] == '-' {
		d.zone = -d.zone
	}
	d.zoned = true
	return true
}

func (d *dateParts) time() (time.Time, bool) {
	switch {
	case d.day < 1 || d.day > 31 || d.month < 1 || d.month > 12 || !d.hasYear || d.year < 1900 || d.year > 9999:
		return time.Time{}, false
	case d.hour > 24 || d.minute > 59 || d.second > 60 || d.zone <= -24*3600 || d.zone >= 24*3600:
		return time.Time{}, false
	}
	t := time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, d.second, 0, time.UTC)
	return t.Add(-time.Duration(d.zone) * time.Second).In(time.FixedZone("", d.zone)), true
}
