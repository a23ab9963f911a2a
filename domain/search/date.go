package search

import (
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain/message"
)

// SentDay gives the day that the Date field names (RFC 9051 section 6.4.4: "disregarding time and timezone"). It is the day that is written there,
// which for a traveller's mail is not the day of its instant in UTC; where it is not written in the usual way, the instant has to do.
func SentDay(s *message.Summary) (Day, bool) {
	if day, ok := writtenDay(s.Envelope.Date); ok {
		return day, true
	}
	return DayOf(s.SentAt), s.SentAt != 0
}

// writtenDay finds "2 Jan 2006" in a Date field (RFC 5322 section 3.3).
func writtenDay(date string) (Day, bool) {
	words := strings.FieldsFunc(date, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '-' })
	for i := 1; i+1 < len(words); i++ {
		month, err := time.Parse("Jan", words[i])
		if err != nil {
			continue
		}
		day, err1 := strconv.ParseUint(words[i-1], 10, 8)
		year, err2 := strconv.ParseUint(words[i+1], 10, 16)
		if err1 != nil || err2 != nil || day < 1 || day > 31 || year > 9999 {
			continue
		}
		switch digits := len(words[i+1]); { // RFC 5322 section 4.3: years of two and three digits.
		case digits == 2 && year < 50:
			year += 2000
		case digits <= 3:
			year += 1900
		}
		return DayOf(time.Date(int(year), month.Month(), int(day), 0, 0, 0, 0, time.UTC).Unix()), true
	}
	return 0, false
}
