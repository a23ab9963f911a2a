// Package sieve is the language in which users say what happens to mail as it arrives (RFC 5228), and what its scripts come to.
//
// Compile checks a script wholly: grammar, arguments, and that every extension that is used was asked for. What it gives, Script, is immutable
// and may run in many goroutines. Run looks at one message and gives actions; it does nothing itself, has no clock and meets the world through
// the interfaces of Context only.
//
// Invariants:
//   - Whatever goes wrong while a script runs, the message is kept: an error gives the one action keep (RFC 5228 section 2.10.6).
//   - Every script ends: there are no loops in the language, inclusion has a depth, and each command, test, lookup, and octet read, copied
//     or compared is paid for from one account of steps. A run also ends when Context.Done says so.
//   - A capability that Capabilities does not list is an error in require (RFC 5228 section 3.2, RFC 5804 section 2.6). Nothing is accepted and then
//     not done: external lists (RFC 6134), of which there are none here, are refused when a script is checked.
//   - What a run has seen of earlier ones is asked by Context.Seen, and what later ones have to know is in Outcome.Remember: it counts only if everything else is done, too.
//   - No message is answered that RFC 3834 section 2 forbids to answer, and none is redirected that was redirected from here before.
//   - Memory is bounded by the limits below. Headers are read when a test asks for them, bodies in pieces.
//
// Regular expressions (draft-ietf-sieve-regex) are those of Go's package regexp, which never backtracks, with leftmost-longest matches as POSIX has
// them; there are no back-references and no collating elements.
package sieve

// The limits of scripts. One that is crossed at compile time is an error in the script; one that is crossed at run time keeps the message.
const (
	MaxScript = 256 << 10 // octets of one script

	maxNesting   = 32      // of blocks, and of tests (RFC 5228 section 2.10.5 demands 15)
	maxTokens    = 100_000 // of one script
	maxList      = 1000    // strings in one list
	maxSteps     = 200_000 // of one run; see machine.spend
	maxActions   = 32      // of one run
	maxVariables = 256     // distinct (RFC 5229 section 6 demands 128)
	maxVariable  = 4096    // octets of a value, which is truncated there (RFC 5229 section 6 demands 4,000)
	maxFlags     = 128     // flags in one variable
	maxIncludes  = 10      // depth of inclusion (RFC 6609 section 3.1)
	maxIncluded  = 50      // inclusions of one run
	maxPattern   = 1000    // octets of a regular expression
	maxProgram   = 4000    // instructions that it may become
	maxPrograms  = 20_000  // of all regular expressions of one script, where 16 bounds of character classes count as an instruction, too
	maxUsed      = 40_000  // the same, of all scripts that one run uses
	maxEdits     = 100     // of the header in one run (RFC 5293)
	maxHeader    = 512 << 10
	maxField     = 64 << 10  // octets of one unfolded field that are looked at
	maxBody      = 128 << 10 // octets of a body, or of a part, that are compared as one; :contains looks at all of it
)

// Capabilities are the extensions that scripts may ask for, in order.
func Capabilities() []string { return append([]string(nil), capabilities...) }

var capabilities = []string{
	"body",                       // RFC 5173.
	"comparator-i;ascii-casemap", // RFC 5228 section 2.7.3.
	"comparator-i;ascii-numeric", // RFC 5231 section 5.
	"comparator-i;octet",
	"comparator-i;unicode-casemap", // RFC 5051.
	"copy",                         // RFC 3894.
	"date",                         // RFC 5260.
	"duplicate",                    // RFC 7352.
	"editheader",                   // RFC 5293.
	"encoded-character",            // RFC 5228 section 2.4.2.4.
	"enotify",                      // RFC 5435, with mailto of RFC 5436.
	"envelope",                     // RFC 5228 section 5.4.
	"environment",                  // RFC 5183.
	"ereject",                      // RFC 5429.
	"fcc",                          // RFC 8580.
	"fileinto",                     // RFC 5228 section 4.1.
	"ihave",                        // RFC 5463.
	"imap4flags",                   // RFC 5232.
	"include",                      // RFC 6609.
	"index",                        // RFC 5260.
	"mailbox",                      // RFC 5490.
	"mailboxid",                    // RFC 9042.
	"regex",
	"reject",
	"relational",       // RFC 5231.
	"special-use",      // RFC 8579.
	"subaddress",       // RFC 5233.
	"vacation",         // RFC 5230.
	"vacation-seconds", // RFC 6131.
	"variables",        // RFC 5229.
}
