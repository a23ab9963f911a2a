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
	loginWaits    = Desc{"streampost_login_waits_total", "counter", nil, "Attempts to log in that had to wait because of failures before them."}
	loginPutOff   = Desc{"streampost_logins_put_off_total", "counter", nil, "Attempts to log in that were refused because too many waited already."}
	loginBlocked  = Desc{"streampost_login_blocks", "gauge", nil, "Accounts and addresses whose next attempt has to wait."}
	loginSeen     = Desc{"streampost_login_failures_remembered", "gauge", nil, "Accounts and addresses with failures, and places where users are known, that are remembered."}
	loginGossip   = Desc{"streampost_login_gossip_total", "counter", []string{"outcome"}, "What nodes told each other about failed logins: sent, heard, or lost."}
	sessionsOpen  = Desc{"streampost_sessions", "gauge", nil, "Sessions that are logged in."}
	sessionsOver  = Desc{"streampost_sessions_refused_total", "counter", nil, "Logins refused because the account had too many sessions."}
	issuerFetches = Desc{"streampost_oidc_fetches_total", "counter", []string{"outcome"}, "Fetches of the token issuer's keys; outcome is ok or failed."}
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
	nodesHere     = Desc{"streampost_cluster_nodes", "gauge", nil, "Nodes with a copy of the log that this node reaches, itself included."}
	copyHoles     = Desc{"streampost_log_copy_holes", "gauge", []string{"stream"}, "Entries that this node's copy lacks between its first and its last: damage."}
	copyCurrent   = Desc{"streampost_log_copy_current", "gauge", []string{"stream"}, "1 while this node's copy has all that was agreed on, 0 while it catches up."}
	copyStale     = Desc{"streampost_log_copy_stale", "gauge", []string{"stream"}, "1 when this node's copy says that it is current and has lacked for long what others have."}
	copyRepairs   = Desc{"streampost_log_copy_repairs_total", "counter", []string{"outcome"}, "Bad copies that were found when they were to be repaired: repaired, or refused because too few other nodes have all of them."}
	copyAbsent    = Desc{"streampost_log_copy_absent", "gauge", []string{"stream"}, "1 when this node is to have a copy of the stream and has none, or one that takes no part."}
	copyLed       = Desc{"streampost_log_led", "gauge", []string{"stream"}, "1 while some node leads the stream, as this node knows."}
	replicasHere  = Desc{"streampost_replicas", "gauge", []string{"state"}, "Replicas of accounts on this node; state is kept or paused."}
	notices       = Desc{"streampost_notices_total", "counter", []string{"way", "outcome"}, "Notices to administrators; way is mail or webhook, outcome is ok or failed."}
	logDamage     = Desc{"streampost_log_damage", "gauge", nil, "Places where the verification in the background found the log damaged."}
	logVerified   = Desc{"streampost_log_verified_timestamp_seconds", "gauge", nil, "When it last came to its end, 0 if never since the start."}
	lagEntries    = Desc{"streampost_projection_lag_entries", "gauge", []string{"projection", "stream"}, "Entries of the log that the view does not show yet."}
	lagSeconds    = Desc{"streampost_projection_lag_seconds", "gauge", []string{"projection", "stream"}, "Age of the oldest of those."}
	projectionUp  = Desc{"streampost_projection_up", "gauge", []string{"projection", "stream"}, "1 while the projector works, 0 when it has stopped."}
	viewBytes     = Desc{"streampost_projection_bytes", "gauge", []string{"projection", "stream"}, "Octets of all generations of the view, kept ones and those being built included."}
	generations   = Desc{"streampost_projection_generations", "gauge", []string{"projection", "stream", "state"}, "Generations of the view, by state; see projection list."}
	switches      = Desc{"streampost_projection_switches_total", "counter", nil, "Generations switched in after a rebuild or an upgrade."}
	switchPause   = Desc{"streampost_projection_switch_pause_seconds", "gauge", nil, "Longest pause of projecting at a switch since the start."}
	verified      = Desc{"streampost_projection_verified_accounts_total", "counter", nil, "Accounts compared with the log in the background."}
	differences   = Desc{"streampost_projection_differences_total", "counter", nil, "Values found to differ there."}
	counted       = Desc{"streampost_projection_counted_accounts_total", "counter", nil, "Accounts whose rows were compared with their digests in the background."}
	miscounts     = Desc{"streampost_projection_miscounts_total", "counter", nil, "Digests that rows were found not to add up to there."}
	lastCounted   = Desc{"streampost_projection_counted_timestamp_seconds", "gauge", nil, "When the last of these comparisons ended; 0 when none has."}
	lastVerified  = Desc{"streampost_projection_verified_timestamp_seconds", "gauge", nil, "When the last of these comparisons ended; 0 when none has."}
	doorCommands  = Desc{"streampost_door_commands_total", "counter", nil, "Commands decided."}
	doorTx        = Desc{"streampost_door_transactions_total", "counter", nil, "Transactions that these commands became."}
	doorConflicts = Desc{"streampost_door_conflicts_total", "counter", nil, "Decisions made again after a conflict."}
	doorLoads     = Desc{"streampost_door_loads_total", "counter", nil, "Account states loaded from the views."}
	doorEvictions = Desc{"streampost_door_evictions_total", "counter", nil, "Account states dropped to free memory."}
	doorMended    = Desc{"streampost_door_mended_total", "counter", nil, "Accounts whose rows were found wrong while they were loaded, and made anew."}
	doorHot       = Desc{"streampost_door_hot_accounts", "gauge", nil, "Account states in memory."}
	doorHotBytes  = Desc{"streampost_door_hot_bytes", "gauge", nil, "Estimated size of those."}
	orderAccounts = Desc{"streampost_order_accounts", "gauge", nil, "Accounts whose headers are kept in memory for SORT and THREAD."}
	orderBytes    = Desc{"streampost_order_bytes", "gauge", nil, "Estimated size of what is kept."}
	searchDocs    = Desc{"streampost_search_indexed_total", "counter", nil, "Messages that the search index took in since the start, rebuilds included."}
	searchBytes   = Desc{"streampost_search_indexed_bytes_total", "counter", nil, "Octets of their text."}
	searchPartial = Desc{"streampost_search_partial_total", "counter", nil, "Those with more text than search.text: they are read when they are searched."}
	searchMissing = Desc{"streampost_search_missing_total", "counter", nil, "Those that could not be read: see search reindex."}
	searchAsked   = Desc{"streampost_search_queries_total", "counter", []string{"outcome"}, "Searches that asked the index; outcome is answered or failed."}
	extractFiles  = Desc{"streampost_extract_messages_total", "counter", []string{"outcome"}, "Messages whose attachments Tika was asked about since the start; outcome is extracted, failed (an attempt) or given_up: see search reindex --check."}
	extractBytes  = Desc{"streampost_extract_text_bytes_total", "counter", nil, "Octets of text that were found in them."}
	extractRefuse = Desc{"streampost_extract_attachments_refused_total", "counter", []string{"reason"}, "Attachments without text for us; reason is unreadable (Tika finds none) or size (more than search.tika.file)."}
	extractWait   = Desc{"streampost_extract_waiting", "gauge", nil, "Messages whose attachments wait to be read."}
	extractUp     = Desc{"streampost_extract_up", "gauge", nil, "1 while Tika can be asked, 0 while it is away."}
	promotions    = Desc{"streampost_promotions_total", "counter", []string{"cause", "outcome"}, "Accounts that were to get another primary by this node; cause is operator or failover, outcome is promoted, unchanged or failed."}
	inCharge      = Desc{"streampost_failover_in_charge", "gauge", nil, "1 on the node that moves the accounts of nodes that are gone, 0 on the others."}
	leaseAge      = Desc{"streampost_lease_age_seconds", "gauge", nil, "How long ago this node's lease was renewed: a few seconds, unless it is cut off."}
	advised       = Desc{"streampost_failover_withheld", "gauge", nil, "Nodes whose accounts should be moved and are not, see cluster status; told by the node in charge."}
	suspicion     = Desc{"streampost_node_suspicion", "gauge", []string{"node"}, "How unlikely a node's silence is by chance: N means once in 10^N beats; told by the node in charge."}
	nodeState     = Desc{"streampost_node_state", "gauge", []string{"node", "state"}, "1 for the state that a node is in: live, returning, unfit, leaving or silent; told by the node in charge."}
	tasksOpen     = Desc{"streampost_tasks", "gauge", []string{"type", "status"}, "Tasks of all nodes that have not ended; status is waiting, inProgress or canceledRequested."}
	taskSeconds   = Desc{"streampost_task_seconds", "histogram", []string{"type", "status"}, "Time that the last attempt of a task took, of tasks that ended on this node; status is completed, failed or canceled."}
	restored      = Desc{"streampost_messages_restored_total", "counter", nil, "Deleted messages that were brought back."}
	purged        = Desc{"streampost_messages_purged_total", "counter", nil, "Deleted messages that were given up for good."}
	blobsDeleted  = Desc{"streampost_blobs_deleted_total", "counter", nil, "Blobs deleted because nobody claimed them."}
	blobBytes     = Desc{"streampost_blobs_deleted_bytes_total", "counter", nil, "Octets of those, sealed."}
	blobsLost     = Desc{"streampost_blobs_lost", "gauge", []string{"problem"}, "Messages that the last verification of all blobs found unreadable; problem is missing or damaged."}
	listenerLag   = Desc{"streampost_listener_lag_entries", "gauge", []string{"listener"}, "Entries of the log that a listener of this node has not handled yet."}
	listenerDone  = Desc{"streampost_listener_handled_total", "counter", []string{"listener"}, "Entries that it handled."}
	listenerRetry = Desc{"streampost_listener_failures_total", "counter", []string{"listener"}, "Attempts of it that failed."}
	listenerDead  = Desc{"streampost_listener_dead_letters_total", "counter", []string{"listener"}, "Entries that it gave up."}
	listenerUp    = Desc{"streampost_listener_up", "gauge", []string{"listener"}, "1 while it works, 0 while what it feeds is away."}
	deadLetters   = Desc{"streampost_dead_letters", "gauge", []string{"listener"}, "Dead letters that wait for an operator; see deadletter list."}
	webhookPosts  = Desc{"streampost_webhook_seconds", "histogram", []string{"webhook", "outcome"}, "Time that a webhook's receiver took for an event; outcome is sent, refused, failed (there was no answer), patience (it wants to be left alone for a while) or gone (it wants nothing any more)."}
	spamLearnt    = Desc{"streampost_spam_learning_total", "counter", []string{"verdict", "outcome"}, "Messages from which the spam filter was to learn what their users think of them; verdict is spam or ham, outcome is learnt, known (the filter had learnt it, or does not want it), large, away (the message is not there any more) or failed."}
	exported      = Desc{"streampost_export_events_total", "counter", nil, "Events that were written into files for other systems."}
	published     = Desc{"streampost_publish_events_total", "counter", nil, "Events that were put into a stream of NATS for other systems."}
	clusterDocs   = Desc{"streampost_opensearch_documents_total", "counter", []string{"outcome"}, "Documents sent to OpenSearch; outcome is written, repeated (it was there already) or stub (it stands for a message that cannot be indexed)."}
	clusterAsked  = Desc{"streampost_opensearch_queries_total", "counter", []string{"outcome"}, "Searches that asked OpenSearch; outcome is answered, open (its index is not whole yet) or failed."}
	blobRecords   = Desc{"streampost_blob_records_total", "counter", nil, "Small messages stored in segments."}
	blobSyncs     = Desc{"streampost_blob_syncs_total", "counter", nil, "Syncs that made them durable."}
	blobCompacted = Desc{"streampost_blob_compactions_total", "counter", nil, "Segments removed because most of them was dead."}
	blobSegments  = Desc{"streampost_blob_segments", "gauge", nil, "Segment files."}
	blobDead      = Desc{"streampost_blob_dead_bytes", "gauge", nil, "Octets in segments that deleted and replaced messages still take."}
	cacheOpened   = Desc{"streampost_blob_cache_opened_total", "counter", []string{"outcome"}, "Blobs that were opened where they lie in S3 or JetStream; outcome is hit, or miss: the bucket was asked."}
	cacheEvicted  = Desc{"streampost_blob_cache_evicted_total", "counter", nil, "Blobs that left the cache for others."}
	cacheDamaged  = Desc{"streampost_blob_cache_damaged_total", "counter", nil, "Blobs in the cache that could not be read and were fetched anew."}
	cacheEntries  = Desc{"streampost_blob_cache_blobs", "gauge", nil, "Blobs in the cache."}
	cacheBytes    = Desc{"streampost_blob_cache_bytes", "gauge", nil, "Octets of the cache; blobs.cache is the most."}
	s3Requests    = Desc{"streampost_s3_requests_total", "counter", []string{"outcome"}, "Requests to the S3 server that keeps the blobs; outcome is answered, refused (such as for want of permission) or failed (it is away or overloaded; most are tried again)."}
	snapshotMade  = Desc{"streampost_snapshot_seconds", "histogram", []string{"outcome"}, "Time that making a snapshot of an account's rows took; outcome is ok or failed."}
	snapshotBytes = Desc{"streampost_snapshot_bytes_total", "counter", nil, "Octets of the snapshots that were made."}
	hydrations    = Desc{"streampost_snapshot_hydrations_total", "counter", []string{"outcome"}, "Times that rows of an account were to be made from its snapshot; outcome is used, or refused: the log was folded instead."}
	archiveLag    = Desc{"streampost_archive_lag_entries", "gauge", []string{"stream"}, "Entries of a stream that are not archived yet; on the node that archives."}
	archiveLate   = Desc{"streampost_archive_lag_seconds", "gauge", []string{"stream"}, "How long the oldest of them has waited."}
	archiveParts  = Desc{"streampost_archive_segments_total", "counter", []string{"how"}, "Segments that were written to the archive; how is fresh, or merged out of several."}
	archiveBytes  = Desc{"streampost_archive_bytes_total", "counter", nil, "Octets of transactions that were archived."}
	archiveKeys   = Desc{"streampost_archive_keys_total", "counter", nil, "Wrapped keys and secrets that were archived."}
	archiveFails  = Desc{"streampost_archive_failures_total", "counter", nil, "Attempts to archive that failed; what they were to archive waits in the log."}
	logRecalled   = Desc{"streampost_log_recalled_total", "counter", nil, "Entries that a stream has lost and a reader took from the archive. Above 0, the log is damaged."}
	queueSize     = Desc{"streampost_queue_messages", "gauge", []string{"queue", "state"}, "Messages on their way to other servers, one for each domain of their recipients; state is waiting, active (being attempted) or held."}
	queueOctets   = Desc{"streampost_queue_octets", "gauge", []string{"queue"}, "Octets of those."}
	queueAge      = Desc{"streampost_queue_age_seconds", "gauge", []string{"queue"}, "Age of the oldest of them."}
	queueDomains  = Desc{"streampost_queue_destinations", "gauge", []string{"queue"}, "Domains that they are for."}
	queueResting  = Desc{"streampost_queue_resting", "gauge", []string{"queue"}, "Of those, where no host could be reached from this node lately."}
	queueUp       = Desc{"streampost_queue_up", "gauge", []string{"queue"}, "1 unless the queue's stream is damaged."}
	queueBytes    = Desc{"streampost_queue_stream_bytes", "gauge", []string{"queue"}, "Octets of the queue's stream."}
	queueAttempts = Desc{"streampost_queue_attempt_seconds", "histogram", []string{"outcome"}, "Time of an attempt, once for each recipient; outcome is delivered (to a mailbox here), relayed, deferred or failed."}
	queueReports  = Desc{"streampost_queue_reports_total", "counter", []string{"action"}, "Delivery status notifications to senders; action is failed, delayed, delivered or relayed."}
	quotaWarnings = Desc{"streampost_quota_warnings_total", "counter", []string{"percent"}, "Warnings of full accounts that users got, by the percentage that was reached."}
	traceDropped  = Desc{"streampost_trace_dropped_total", "counter", nil, "Steps of messages that the trace could not keep, because its stream could not be written."}
	outResting    = Desc{"streampost_outbound_addresses_resting", "gauge", nil, "Addresses of other servers that are passed over, because they could not be reached a few times in a row."}
	queueDropped  = Desc{"streampost_queue_dropped_total", "counter", nil, "Recipients that failed and whose sender cannot or does not want to be told."}
	parkedSize    = Desc{"streampost_parked_messages", "gauge", []string{"repository"}, "Messages that are parked until an operator says what shall become of them."}
	parkedOctets  = Desc{"streampost_parked_octets", "gauge", []string{"repository"}, "Octets of those."}
	parkedAge     = Desc{"streampost_parked_age_seconds", "gauge", []string{"repository"}, "For how long the one is parked that has been there longest."}
	spoolSize     = Desc{"streampost_spool_messages", "gauge", nil, "Messages that wait for the pipeline, or are being processed."}
	spoolAge      = Desc{"streampost_spool_age_seconds", "gauge", nil, "Age of the oldest of them."}
	processed     = Desc{"streampost_pipeline_effects_total", "counter", []string{"effect"}, "What became of messages, or of parts of them, that were not simply delivered: deliver (into the queue), park, drop, bounce, send, spool (to be gone on with), retry."}
	stepCalls     = Desc{"streampost_pipeline_call_seconds", "histogram", []string{"step", "outcome"}, "Time until a hook or a custom step has said what becomes of a message; outcome is answered or failed."}
	outSessions   = Desc{"streampost_outbound_sessions_total", "counter", []string{"tls"}, "Sessions with other servers that began; tls is yes or no."}
	outReused     = Desc{"streampost_outbound_reused_total", "counter", nil, "Messages for which an open session was used again."}
	outFailed     = Desc{"streampost_outbound_failures_total", "counter", nil, "Hosts that could not be used."}
	outPolicies   = Desc{"streampost_outbound_policies_total", "counter", []string{"outcome"}, "Looks for a policy of MTA-STS; outcome is fetched, same (the one that is known), none or failed."}
	outSecurity   = Desc{"streampost_outbound_security_total", "counter", []string{"policy", "result"}, "How TLS went with hosts that DNS names; policy is sts, tlsa or no-policy-found, result is successful or one of RFC 8460 section 4.3, such as starttls-not-supported."}
	outReports    = Desc{"streampost_outbound_tls_reports_total", "counter", []string{"outcome"}, "Reports about TLS that were due to other domains; outcome is mailed (it is in the queue), posted, unwanted or failed (given up)."}
	mailLoops     = Desc{"streampost_mail_loops_total", "counter", []string{"found"}, "Recipients whose mail goes round in a loop; found is mappings (their expressions come to no end) or servers (the message was sent on for the recipient before)."}
	mailVerified  = Desc{"streampost_mail_verified_total", "counter", []string{"method", "result"}, "Results about who messages from other servers are from; method is spf, dkim (for each signature), dmarc, iprev or dnswl (for each list), result one of RFC 8601: pass, fail, none, temperror and so on."}
	mailDecided   = Desc{"streampost_mail_verdicts_total", "counter", []string{"action"}, "What became of messages that were verified; action is accept, junk, refuse or later."}
	listsAsked    = Desc{"streampost_gate_lists_total", "counter", []string{"list", "result"}, "Answers of lists of addresses in DNS about clients; result is listed, clear or failed (it did not answer, and refused nobody)."}
	clientsNamed  = Desc{"streampost_gate_names_total", "counter", []string{"check", "result"}, "What the names of clients are like; check is reverse, with a result of iprev (RFC 8601), or helo, with good, malformed, bare (no dot), ours or other (an address that is not the client's)."}
	milterSeconds = Desc{"streampost_milter_seconds", "histogram", []string{"milter", "outcome"}, "Time from MAIL until a milter has said what becomes of a message; outcome is accept, junk, refuse, later, discard or failed."}
	greylisted    = Desc{"streampost_gate_greylist_total", "counter", []string{"outcome"}, "What greylisting said of recipients; outcome is waiting (put off), returned (it came again, for the first time), known, network (whose clients came again often), spf, or failed (the memory cannot be read; nobody is put off)."}
	gateRefused   = Desc{"streampost_gate_refusals_total", "counter", []string{"why"}, "Senders and recipients that were refused before any message was there; why is list (of addresses in DNS), reverse or helo (names of the client), address-rate, sender-rate, recipient-rate or account-rate (enough for now), greylist, or milter (also at the end of a message)."}
	mailSigned    = Desc{"streampost_mail_signed_total", "counter", []string{"outcome"}, "Messages that were to leave with a DKIM signature; outcome is signed, keyless (the domain in From has no active key), foreign (it is not the sender's) or unsignable (its header or From cannot be read)."}
	sieveRuns     = Desc{"streampost_sieve_seconds", "histogram", []string{"outcome"}, "Time from the beginning of a Sieve script to the end of its delivery; outcome is filed, discarded, refused or failed (the message was kept)."}
	sieveSteps    = Desc{"streampost_sieve_steps", "histogram", nil, "What runs of Sieve scripts cost, in steps: one for each command, test and lookup, each 64 octets compared or copied, and each KiB read. At most 200,000."}
	diskFree      = Desc{"streampost_disk_free_bytes", "gauge", nil, "Free octets on the file system of the data directory."}
)

// All lists every metric.
func All() []Desc {
	return []Desc{
		connections, accepted, refused, logins, loginWaits, loginPutOff, loginBlocked, loginSeen, loginGossip, sessionsOpen, sessionsOver, issuerFetches, commands, messages, refusals, delivery, messageBytes,
		appends, conflicts, roundAppends, roundPublish, roundSync, logHead, nodesHere, copyHoles, copyCurrent, copyStale, copyAbsent, copyRepairs, copyLed, logDamage, logVerified,
		lagEntries, lagSeconds, projectionUp, viewBytes, generations, switches, switchPause, verified, differences, lastVerified, counted, miscounts, lastCounted,
		doorCommands, doorTx, doorConflicts, doorLoads, doorEvictions, doorMended, doorHot, doorHotBytes, orderAccounts, orderBytes,
		tasksOpen, taskSeconds, replicasHere, notices,
		promotions, inCharge, leaseAge, advised, suspicion, nodeState,
		restored, purged, blobsDeleted, blobBytes, blobsLost, blobRecords, blobSyncs, blobCompacted, blobSegments, blobDead,
		cacheOpened, cacheEvicted, cacheDamaged, cacheEntries, cacheBytes, s3Requests,
		searchDocs, searchBytes, searchPartial, searchMissing, searchAsked, extractFiles, extractBytes, extractRefuse, extractWait, extractUp,
		snapshotMade, snapshotBytes, hydrations, archiveLag, archiveLate, archiveParts, archiveBytes, archiveKeys, archiveFails, logRecalled, diskFree, sieveRuns, sieveSteps,
		listenerLag, listenerDone, listenerRetry, listenerDead, listenerUp, deadLetters, webhookPosts, spamLearnt, exported, published, clusterDocs, clusterAsked,
		queueSize, queueOctets, queueAge, queueDomains, queueResting, queueUp, queueBytes, queueAttempts, queueReports, queueDropped, parkedSize, parkedOctets, parkedAge, spoolSize, spoolAge, processed, stepCalls, mailLoops, outSessions, outReused, outFailed, outPolicies, outSecurity, outReports, quotaWarnings, traceDropped, outResting,
		mailVerified, mailDecided, mailSigned, listsAsked, clientsNamed, greylisted, gateRefused, milterSeconds,
	}
}
