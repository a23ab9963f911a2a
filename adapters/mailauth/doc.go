// Package mailauth finds out who a message is from, and signs what leaves: SPF (RFC 7208), DKIM (RFC 6376, RFC 8301, RFC 8463) and DMARC (RFC 7489), told in an
// Authentication-Results field (RFC 8601).
//
// The methods themselves are blitiri.com.ar/go/spf and go-msgauth; what this package adds is what they leave to their callers: bounds, time, and what follows.
//
// Invariants:
//   - Verify waits for name servers for Limits.Time, whatever they do. What cannot be told by then is temperror, for which no mail is refused unless that is configured.
//   - Nothing that a sender can bring about for a domain of its own (slow or broken DNS, signatures without number) hides how another domain wants its mail to be treated:
//     only a temporary error of an aligned domain keeps a policy from being applied, and policies are looked up apart from all else.
//   - A result is about one signature and one domain: the package for DKIM has one at a time, and no field that is not a field to everybody.
//   - A message is read once, as a stream. What is kept of it is its header.
//   - Names are asked of a Resolver that is given, in A-labels.
package mailauth
