package sieve

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain/message"
)

func init() {
	zone := map[string]tagged{"zone": {takes: 's', group: "zone"}, "originalzone": {group: "zone"}}
	tests["date"] = &spec{needs: []string{"date"}, tags: merge(matchTags, indexTags, zone), takes: "ssl", test: buildDate}
	tests["currentdate"] = &spec{needs: []string{"date"}, tags: merge(matchTags, map[string]tagged{"zone": {takes: 's'}}), takes: "sl", test: buildCurrentDate}
}

// dateParts are those of RFC 5260 section 4.2.
var dateParts = map[string]func(t time.Time) string{
	"year":    func(t time.Time) string { return fmt.Sprintf("%04d", t.Year()) },
	"month":   func(t time.Time) string { return t.Format("01") },
	"day":     func(t time.Time) string { return t.Format("02") },
	"date":    func(t time.Time) string { return t.Format("2006-01-02") },
	"julian":  func(t time.Time) string { return strconv.Itoa(julian(t)) },
	"hour":    func(t time.Time) string { return t.Format("15") },
	"minute":  func(t time.Time) string { return t.Format("04") },
	"second":  func(t time.Time) string { return t.Format("05") },
	"time":    func(t time.Time) string { return t.Format("15:04:05") },
	"iso8601": func(t time.Time) string { return t.Format("2006-01-02T15:04:05-07:00") },
	"std11":   func(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") },
	"zone":    func(t time.Time) string { return t.Format("-0700") },
	"weekday": func(t time.Time) string { return strconv.Itoa(int(t.Weekday())) },
}

// julian is the Modified Julian Day: days since 17 November 1858 (RFC 5260 section 4.2).
func julian(t time.Time) int {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return int(day.Sub(time.Date(1858, 11, 17, 0, 0, 0, 0, time.UTC)).Hours() / 24)
}

// datePart compiles the name of a part.
func (c *compiler) datePart(a argument) (func(t time.Time) string, error) {
	name, err := c.constant(a)
	if err != nil {
		return nil, err
	}
	part := dateParts[strings.ToLower(name)]
	if part == nil {
		return nil, a.errorf("%q is not a part of a date", name)
	}
	return part, nil
}

// zoned gives what moves a time into the zone of :zone, or leaves it for :originalzone.
func (c *compiler) zoned(a *arguments) (func(m *machine, t time.Time) (time.Time, error), error) {
	if a.has("originalzone") {
		return func(_ *machine, t time.Time) (time.Time, error) { return t, nil }, nil
	}
	zone, err := c.optional(a, "zone")
	if err != nil {
		return nil, err
	}
	return func(m *machine, t time.Time) (time.Time, error) {
		if zone == nil {
			return t.In(m.ctx.Now.Location()), nil
		}
		text := m.expand(zone)
		in, err := time.Parse("-0700", text)
		if err != nil {
			return t, a.errorf("%q is not a time zone like -0700", text)
		}
		return t.In(in.Location()), nil
	}, nil
}

// buildDate is date (RFC 5260 section 4). What holds no date matches nothing.
func buildDate(c *compiler, a *arguments) (predicate, error) {
	name, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	part, err := c.datePart(a.place[1])
	if err != nil {
		return nil, err
	}
	only, err := indexOf(a)
	if err != nil {
		return nil, err
	}
	zoned, err := c.zoned(a)
	if err != nil {
		return nil, err
	}
	match, err := c.matcher(a, a.place[2])
	return func(m *machine) (bool, error) {
		fields, err := m.values(a.Position, []string{m.expand(name)}, only)
		if err != nil {
			return false, err
		}
		var values []string
		for _, f := range fields {
			if semicolon := strings.LastIndexByte(f, ';'); semicolon >= 0 { // as in Received.
				f = f[semicolon+1:]
			}
			t, ok := message.ParseDate(f)
			if !ok {
				continue
			}
			if t, err = zoned(m, t); err != nil {
				return false, err
			}
			values = append(values, part(t))
		}
		return match.any(m, values)
	}, err
}

// buildCurrentDate is currentdate (RFC 5260 section 5).
func buildCurrentDate(c *compiler, a *arguments) (predicate, error) {
	part, err := c.datePart(a.place[0])
	if err != nil {
		return nil, err
	}
	zoned, err := c.zoned(a)
	if err != nil {
		return nil, err
	}
	match, err := c.matcher(a, a.place[1])
	return func(m *machine) (bool, error) {
		t, err := zoned(m, m.ctx.Now)
		if err != nil {
			return false, err
		}
		return match.any(m, []string{part(t)})
	}, err
}
