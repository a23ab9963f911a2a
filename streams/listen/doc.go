// Package listen runs the side effects of events: search clusters, webhooks, notices. It exists because they may fail, or be slow, for as long
// as they like, and mail must not notice.
//
// A Listener is handed the entries of the log by durable consumers of JetStream, one for each stream. Subscriber and Publisher give the same
// machinery to handlers of Watermill, on streams of their own.
//
// Lanes. Every account is a lane: its entries are handled one after the other, in the order of the log, also over failures. While an entry is
// tried again the later ones of its account wait, and other accounts go on. A lane of a Subscriber is a key that the publisher gave.
//
// At least once. An entry is acknowledged when it is handled or has become a dead letter. After a crash, or when a connection was lost, the
// consumer is set back to the first entry that was not acknowledged, so that nothing overtakes; what was handled already is then known, or
// handled again. Handlers must be idempotent.
//
// One at a time. Of several processes that run a listener, the server gives entries to one (a pinned client); when it goes away another takes
// over within Limits.Takeover, or a few seconds when it left nothing half done. A process that is cut off may finish what it has in hand beside its successor.
//
// Durability. No entry is handled before it is synced: see streams.Log. A dead letter is synced before its entry is acknowledged.
//
// Failures. A Handle that fails is called again after a pause that doubles (Retry), then the entry becomes a dead letter, which refers to the
// log and never holds content, and its account goes on. An error that Outage made says that the destination as a whole is away: nothing is
// counted then and the listener waits, because the log is a better queue than a heap of dead letters.
//
// Memory. Limits.Window entries, and Limits.Memory octets of them, are held for each stream; beyond that only their numbers are.
package listen
