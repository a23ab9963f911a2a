package main

import (
	"github.com/streampost/streampost/adapters/milter"
	"github.com/streampost/streampost/adapters/smtp"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/ops/config"
)

// filter makes what shows mail of other servers to milters; nil where there are none.
func (s *server) filter() (func(*admission.Client, string) smtp.Filter, error) {
	if len(s.cfg.SMTP.Milters) == 0 {
		return nil, nil
	}
	cfg := milter.Config{Hostname: s.hostname(), Done: s.metrics.Filtered, Logger: s.log.With("part", "milter")}
	for _, text := range s.cfg.SMTP.Milters {
		m, err := config.ParseMilter(text)
		if err != nil {
			return nil, err
		}
		cfg.Milters = append(cfg.Milters, milter.Milter(m))
	}
	all := milter.New(cfg)
	return func(c *admission.Client, id string) smtp.Filter { return all.Begin(c, id) }, nil
}
