package webadmin

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
)

var durationForm = regexp.MustCompile(`^(\d{1,9}) ?([A-Za-z]*)$`)

// durationUnits are James's, who also knows a month of 30 days and a year of 365.
var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "msec": time.Millisecond, "msecs": time.Millisecond,
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
	"month": 30 * 24 * time.Hour, "months": 30 * 24 * time.Hour,
	"y": 365 * 24 * time.Hour, "year": 365 * 24 * time.Hour, "years": 365 * 24 * time.Hour,
}

// duration reads a parameter such as 30s, 5m, 7d or "2 days". A number without a unit counts in the given one.
func duration(r *http.Request, key string, absent, unit time.Duration) (time.Duration, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return absent, nil
	}
	found := durationForm.FindStringSubmatch(text)
	if found == nil {
		return 0, notADuration(key, text)
	}
	if found[2] != "" {
		var known bool
		if unit, known = durationUnits[strings.ToLower(found[2])]; !known {
			return 0, notADuration(key, text)
		}
	}
	n, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, notADuration(key, text)
	}
	return time.Duration(n) * unit, nil
}

func notADuration(key, text string) error {
	return domain.Errorf(domain.Invalid, "%s=%q is not a duration such as 30s, 5m, 2h, 7d or 1y", key, text)
}
