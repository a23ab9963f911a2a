package metrics

// Desc is one metric. All of them are listed here, and docs/metrics.md is made from this list.
type Desc struct {
	Name   string
	Kind   string // counter, gauge or histogram
	Labels []string
	Help   string
}

// The metrics.
var (
	connections   = Desc{"streampost_connections", "gauge", []string{"protocol"}, "Open connections."}
	accepted      = Desc{"streampost_connections_total", "counter", []string{"protocol"}, "Connections accepted."}
	refused       = Desc{"streampost_connections_refused_total", "counter", []string{"protocol"}, "Connections refused because a limit was reached."}
	logins        = Desc{"streampost_logins_total", "counter", []string{"protocol", "outcome"}, "Attempts to log in; outcome is ok or denied."}
	commands      = Desc{"streampost_command_seconds", "histogram", []string{"protocol", "command", "status"}, "Time from a command's last octet to its answer."}
	messages      = Desc{"streampost_messages_total", "counter", []string{"protocol"}, "Messages delivered, once for each mailbox."}
	refusals      = Desc{"streampost_refusals_total", "counter", []string{"protocol", "code"}, "Senders, recipients, logins and messages refused, by reply code."}
	delivery      = Desc{"streampost_delivery_seconds", "histogram", []string{"protocol"}, "Time from a message's last octet until it is durable everywhere."}
	messageBytes  = Desc{"streampost_message_bytes_total", "counter", []string{"protocol"}, "Octets of accepted messages."}
	appends       = Desc{"streampost_log_appends_total", "counter", []string{"stream"}, "Transactions that became durable."}
	conflicts     = Desc{"streampost_log_conflicts_total", "counter", []string{"stream"}, "Appends refused because somebody else wrote first."}
	roundAppends  = Desc{"streampost_log_round_appends", "histogram", nil, "Appends that shared one sync."}
	roundPublish  = Desc{"streampost_log_publish_seconds", "histogram", nil, "Time for the log's server to acknowledge a commit round."}
	roundSync     = Desc{"streampost_log_sync_seconds", "histogram", nil, "Time to sync a commit round."}
	logHead       = Desc{"streampost_log_head", "gauge", []string{"stream"}, "Position of the last durable entry."}
	lagEntries    = Desc{"streampost_projection_lag_entries", "gauge", []string{"projection", "stream"}, "Entries of the log that the view does not show yet."}
	lagSeconds    = Desc{"streampost_projection_lag_seconds", "gauge", []string{"projection", "stream"}, "Age of the oldest of those."}
	projectionUp  = Desc{"streampost_projection_up", "gauge", []string{"projection", "stream"}, "1 while the projector works, 0 when it has stopped."}
	doorCommands  = Desc{"streampost_door_commands_total", "counter", nil, "Commands decided."}
	doorTx        = Desc{"streampost_door_transactions_total", "counter", nil, "Transactions that these commands became."}
	doorConflicts = Desc{"streampost_door_conflicts_total", "counter", nil, "Decisions made again after a conflict."}
	doorLoads     = Desc{"streampost_door_loads_total", "counter", nil, "Account states loaded from the views."}
	doorEvictions = Desc{"streampost_door_evictions_total", "counter", nil, "Account states dropped to free memory."}
	doorHot       = Desc{"streampost_door_hot_accounts", "gauge", nil, "Account states in memory."}
	doorHotBytes  = Desc{"streampost_door_hot_bytes", "gauge", nil, "Estimated size of those."}
	diskFree      = Desc{"streampost_disk_free_bytes", "gauge", nil, "Free octets on the file system of the data directory."}
)

// All lists every metric.
func All() []Desc {
	return []Desc{
		connections, accepted, refused, logins, commands, messages, refusals, delivery, messageBytes, appends, conflicts, roundAppends, roundPublish, roundSync, logHead,
		lagEntries, lagSeconds, projectionUp, doorCommands, doorTx, doorConflicts, doorLoads, doorEvictions, doorHot, doorHotBytes, diskFree,
	}
}
