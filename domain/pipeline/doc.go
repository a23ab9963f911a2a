// Package pipeline decides what becomes of a message before it is delivered: named processors of steps, each a matcher and an action, in James's model and with James's names.
//
// A Program is compiled once from the lines of the configuration (Compile), and then asked about each mail (Advance). It does nothing itself: it gives the effects that have to be carried out, each
// with the recipients that it is for. It knows no clock, no network and no stream; what it has to know of the world, a World tells.
//
// Invariants:
//   - Every recipient of a mail ends in exactly one effect that ends it (Deliver, Park, Bounce, Drop), waits for one that suspends it (Call), or has to be tried again (Retry). Compile refuses processors
//     at whose end recipients could be left over.
//   - The same mail, Program and answers of the World give the same effects, so that a mail can be evaluated again after a crash.
//   - Nothing runs for ever: Compile refuses processors that send all mail in a circle, and Advance parks what has visited Limits.Processors of them.
//
// A step takes the recipients that its matcher finds; the others go on to the next step. Mail is split so, and each part has its own attributes and header.
package pipeline
