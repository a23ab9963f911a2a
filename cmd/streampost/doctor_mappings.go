package main

import (
	"context"

	"github.com/streampost/streampost/adapters/webadmin"
)

// doctorMappings looks for mappings that lead nowhere.
func (c *core) doctorMappings(ctx context.Context) (found []webadmin.Finding) {
	const check, most = "mappings", 5
	if c.directory == nil {
		return nil
	}
	astray, looked, err := c.directory.AstrayMappings(ctx)
	if err != nil && ctx.Err() == nil {
		return []webadmin.Finding{warning(check, "see the server's log", "mappings cannot be looked at: %v", err)}
	}
	for i, a := range astray {
		if i == most {
			found = append(found, warning(check, "mapping test tells of one address", "and %d others lead nowhere", len(astray)-most))
			break
		}
		found = append(found, warning(check, "streampost mapping rm --kind "+string(a.Kind)+" "+a.Source+" "+a.Target+", or make what it leads to", "the %s of %s to %s leads nowhere: %v", a.Kind, a.Source, a.Target, a.Why))
	}
	if len(astray) == 0 && looked > 0 {
		found = append(found, ok(check, "%d mappings lead somewhere", looked))
	}
	return found
}
