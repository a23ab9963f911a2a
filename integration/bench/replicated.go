package main

import (
	"context"
	"fmt"
)

// startDovecots runs two Dovecots of which each brings to the other what changes, by dsync, and speaks to the first. "dovecot-dsync-waits" has a delivery wait until
// the other has the message, for 10 s at most; else it is answered before that.
func startDovecots(ctx context.Context, dir, name string) (*target, error) {
	var doors [2]int
	for i := range doors {
		var err error
		if doors[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	wait := 0 // seconds
	if name == "dovecot-dsync-waits" {
		wait = 10
	}
	var pair [2]*target
	for i := range pair {
		var err error
		if pair[i], err = startDovecot(ctx, dir, fmt.Sprintf("%s-%d", name, i), fmt.Sprintf(`mail_plugins = notify replication
doveadm_password = secret
replication_max_conns = 10
plugin {
  mail_replica = tcp:127.0.0.1:%[2]d
  replication_sync_timeout = %[3]d
}
service replicator {
  process_min_avail = 1
  unix_listener replicator-doveadm {
    mode = 0666
  }
}
service aggregator {
  fifo_listener replication-notify-fifo {
    mode = 0666
  }
  unix_listener replication-notify {
    mode = 0666
  }
}
service doveadm {
  inet_listener {
    port = %[1]d
  }
}
`, doors[i], doors[1-i], wait)); err != nil {
			if i > 0 {
				pair[0].stop()
			}
			return nil, err
		}
	}
	first := pair[0]
	stop := first.stop
	first.name, first.stop = name, func() { stop(); pair[1].stop() }
	return first, nil
}
