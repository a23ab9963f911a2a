// Package opensearch finds messages by their text in an OpenSearch cluster, for sites that outgrow the embedded index.
//
// It is a side effect of the log (package listen): entries become documents by bulk requests, and an outage delays nothing but the index. IMAP
// SEARCH asks it through Answer and reads whatever it cannot tell, so it never changes what is found.
//
// Documents. Each message has one, with the id account:email, routed by account. It holds what never changes: the grams of the text (package
// domain/search), the folded subject and addresses, the day of the Date field. Flags, mailboxes and UIDs are not in it: the account's state, which
// is always at hand, filters by them. So a document is written once, in any order, and its external version, the transaction's number, makes a
// repetition harmless. The text itself is not kept (_source is off); whoever reads the index can guess at it from the grams, so the
// cluster needs the same protection as mail.
//
// Exact and not. A needle of three characters, or a part of a subject or an address, is answered exactly. A longer needle is answered with the
// messages that have all its grams, which are then read. Of header fields it is known which messages can have them.
//
// Whole. An account's documents are written in the order of its emails, which are numbered without gaps. Answer counts them, and takes the index
// for whole as far as there is one for each number; otherwise it answers nothing. A message that cannot be indexed gets a document that says so.
//
// Removal. What was expunged keeps an empty document after the next Sweep; an erased account keeps none.
//
// Generations. Each index is a generation with a listener of its own: messages-1, messages-2. A reindex fills the next one from the beginning of the
// log while the old one serves, and switches the alias that is read in one step.
//
// Outages. After a few failures in a row the circuit opens: nothing is sent for a while, and Answer fails at once, so that its caller asks the
// embedded index or reads. 429 counts as an outage: the cluster asks for patience.
package opensearch
