package config

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

func (v *Verification) check() (errs []error) {
	for _, text := range v.Trusted {
		if _, err := netip.ParsePrefix(text); err != nil {
			errs = append(errs, fmt.Errorf("smtp.verify.trusted has the member %q, which is no network such as 192.0.2.0/24", text))
		}
	}
	if v.Time < 100*time.Millisecond || v.Time > time.Minute {
		errs = append(errs, errors.New("smtp.verify.time is between 100ms and 1m: the client waits"))
	}
	if v.Memory < 1 || v.Memory > 16<<20 {
		errs = append(errs, errors.New("smtp.verify.memory is between 1 and 16 MiB: each message that arrives may take as much"))
	}
	return errs
}
