package history

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/vault"
)

// Point is a place in an account's log: after a transaction, or after all that was decided up to a time. One of the fields is set.
type Point struct {
	Tx   domain.Tx
	Time time.Time
}

func (p Point) String() string {
	if p.Tx != 0 {
		return fmt.Sprintf("Tx %d", p.Tx)
	}
	return p.Time.UTC().Format(time.RFC3339)
}

func (p Point) includes(tx domain.Tx, at time.Time) bool {
	if p.Tx != 0 {
		return tx <= p.Tx
	}
	return !at.After(p.Time)
}

// ParsePoint reads how people name a point: a transaction ("1234", "Tx 1234"), a time ("2026-11-23T12:00:00Z", "2026-11-23 12:00" and
// "2026-11-23" in UTC), or how long ago it was ("-2h", "2h ago", "-3d", "1w ago", "-1h30m"). Errors: domain.Invalid.
func ParsePoint(text string, now time.Time) (Point, error) {
	text = strings.TrimSpace(text)
	number := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(text), "tx"), ":"))
	if tx, err := strconv.ParseUint(number, 10, 63); err == nil {
		if tx == 0 {
			return Point{}, domain.Errorf(domain.Invalid, "transactions are numbered from 1")
		}
		return Point{Tx: domain.Tx(tx)}, nil
	}
	ago, suffixed := strings.CutSuffix(text, "ago")
	ago, signed := strings.CutPrefix(strings.TrimSpace(ago), "-")
	if signed || suffixed {
		d, err := parseDuration(ago)
		if err != nil {
			return Point{}, domain.Errorf(domain.Invalid, "%q is not how long ago something was, such as -2h, -90m, -3d or 1w ago", text)
		}
		return Point{Time: now.Add(-d)}, nil
	}
	t, err := vault.ParseTime(text)
	if err != nil {
		return Point{}, domain.Errorf(domain.Invalid, "%q is neither a time (2026-11-23T12:00:00Z, 2026-11-23), nor how long ago it was (-2h, 3d ago), nor a transaction (1234)", text)
	}
	return Point{Time: t}, nil
}

// maxAgo bounds what can be subtracted from a time.
const maxAgo = 200 * 365 * 24 * time.Hour

// parseDuration knows days and weeks besides what time.ParseDuration knows.
func parseDuration(text string) (time.Duration, error) {
	text = strings.ReplaceAll(strings.TrimSpace(text), " ", "")
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseUint(number, 10, 32)
			if err != nil || time.Duration(n) > maxAgo/length {
				return 0, fmt.Errorf("cannot read %q", text)
			}
			return time.Duration(n) * length, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err == nil && (d < 0 || d > maxAgo) {
		err = fmt.Errorf("cannot read %q", text)
	}
	return d, err
}
