package main

import (
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/projections/parking"
)

// TestNegativeFilters select nothing: one sign too many is not to delete a repository.
func TestNegativeFilters(t *testing.T) {
	for name, s := range map[string]ParkedSelection{
		"older":   {ParkedFilter: ParkedFilter{OlderThan: -720 * time.Hour}},
		"younger": {ParkedFilter: ParkedFilter{YoungerThan: -time.Hour}},
		"times":   {ParkedFilter: ParkedFilter{MaxTimes: -1}},
		"limit":   {Limit: -1},
		"rate":    {Rate: -1, All: true},
		"nothing": {},
	} {
		err := s.run(nil, nil, "parked-delete", "deleted", func(*parking.Order) { t.Error("an order is made") })
		if err == nil || name != "nothing" && !strings.Contains(err.Error(), "not negative") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
