// Package domain holds the words that every other package speaks: identifiers, sets of UIDs, and one error type that says who is to blame.
//
// Everything below domain/ is pure. It knows no clock, no random source, no network, no SQL and no NATS: times and random identifiers
// arrive inside commands and leave inside events, so that every replica which folds the same log reaches the same state
// (invariant 3 of docs/architecture.md, "facts, not commands").
package domain
