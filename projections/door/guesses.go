package door

import (
	"cmp"
	"crypto/sha256"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/directory"
)

// Guessing bounds how fast passwords can be guessed, over all connections and protocols, and over all nodes that hear each other. Zero fields take the
// defaults.
type Guessing struct {
	Free       int           // failures of one account before its logins wait: 3; ten times as many from one source, which many may share
	Delay      time.Duration // how long the next one waits then, doubled by each further failure: 1 s
	Max        time.Duration // the longest that a login waits: 15 s
	HalfLife   time.Duration // after which half of the failures are forgotten: 15 min
	Remembered int           // accounts and sources with failures, and as many places where users are known: 100,000
}

func (g *Guessing) setDefaults() {
	g.Free = cmp.Or(g.Free, 3)
	g.Delay = cmp.Or(g.Delay, time.Second)
	g.Max = cmp.Or(g.Max, 15*time.Second)
	g.HalfLife = cmp.Or(g.HalfLife, 15*time.Minute)
	g.Remembered = cmp.Or(g.Remembered, 100_000)
}

// shared is how many more failures a source has free than an account.
const shared = 10

// longestName is how much of a name is kept to be shown, in octets: an address has 320 (RFC 5321 section 4.5.3.1).
const longestName = 320

// guesses remembers failed logins by account and by source. A name counts as it was given, whether or not there is such an account, so that
// waiting tells nobody who exists. Who guesses wrongly from elsewhere cannot keep a user out: a source from which a login to the account
// succeeded, before the guesses or meanwhile, does not wait for the account's sake.
type guesses struct {
	limits Guessing

	mu     sync.Mutex
	failed *recent[[32]byte, *failures]
	known  *recent[[32]byte, struct{}] // pairs of a source and an account that belong together
	waited uint64
	putOff uint64
}

type failures struct {
	name   string // as it was given, shortened
	source bool   // the name is that of a source
	count  float64
	at     time.Time // of the last failure, to which count belongs
	next   time.Time // before which no attempt is let in
}

func newGuesses(limits Guessing) *guesses {
	limits.setDefaults()
	return &guesses{limits: limits, failed: newRecent[[32]byte, *failures](limits.Remembered), known: newRecent[[32]byte, struct{}](limits.Remembered)}
}

// normal is the spelling in which a login is counted.
func normal(login string) string {
	if address, err := directory.NormalAddress(login); err == nil {
		return address
	}
	return login
}

func accountKey(login string) [32]byte { return sha256.Sum256([]byte("account\x00" + normal(login))) }
func sourceKey(source string) [32]byte { return sha256.Sum256([]byte("source\x00" + source)) }
func placeKey(source, login string) [32]byte {
	return sha256.Sum256([]byte("both\x00" + source + "\x00" + normal(login)))
}

// admit says how long an attempt has to wait, and lets the one after it wait longer; refused means that too many wait already.
func (g *guesses) admit(now time.Time, source, login string) (wait time.Duration, refused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var held []*failures
	if f, ok := g.failed.peek(accountKey(login)); ok && login != "" && !g.knows(source, login) {
		held = append(held, f)
	}
	if f, ok := g.failed.peek(sourceKey(source)); ok && source != "" {
		held = append(held, f)
	}
	for _, f := range held {
		if g.delay(now, f) > 0 {
			wait = max(wait, f.next.Sub(now))
		}
	}
	if wait > g.limits.Max {
		g.putOff++
		return 0, true
	}
	for _, f := range held {
		if d := g.delay(now, f); d > 0 {
			f.next = now.Add(wait + d)
		}
	}
	if wait > 0 {
		g.waited++
	}
	return wait, false
}

// knows reports whether the user of an account is known to be at a source.
func (g *guesses) knows(source, login string) bool {
	_, ok := g.known.peek(placeKey(source, login))
	return ok
}

// delay is the pause that failures cost each further attempt.
func (g *guesses) delay(now time.Time, f *failures) time.Duration {
	free := float64(g.limits.Free)
	if f.source {
		free *= shared
	}
	over := math.Round(g.left(now, f)) - free
	if over < 0 {
		return 0
	}
	return time.Duration(min(float64(g.limits.Delay)*math.Exp2(min(over, 60)), float64(g.limits.Max)))
}

// left is what time has left of a count.
func (g *guesses) left(now time.Time, f *failures) float64 {
	return f.count * math.Exp2(-float64(max(0, now.Sub(f.at)))/float64(g.limits.HalfLife))
}

// fail books a failure.
func (g *guesses) fail(now time.Time, source, login string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if login != "" {
		g.count(now, accountKey(login), failures{name: normal(login)})
	}
	if source != "" {
		g.count(now, sourceKey(source), failures{name: source, source: true})
	}
}

func (g *guesses) count(now time.Time, key [32]byte, fresh failures) {
	f, ok := g.failed.use(key)
	if !ok {
		f = &fresh
		f.name = shortened(f.name)
		g.failed.put(key, f)
	}
	f.count, f.at = g.left(now, f)+1, now
	f.next = now.Add(g.delay(now, f))
}

// shortened is what is kept of a name. It is a copy: what came with the name, such as a password, goes.
func shortened(name string) string {
	end := min(len(name), longestName)
	for end < len(name) && end > longestName-utf8.UTFMax && !utf8.RuneStart(name[end]) {
		end--
	}
	return strings.Clone(name[:end])
}

// succeed remembers that the user of an account is at a source, and reports whether that is news.
func (g *guesses) succeed(source, login string) (news bool) {
	if login == "" {
		return false
	}
	key := placeKey(source, login)
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.known.use(key); ok {
		return false
	}
	g.known.put(key, struct{}{})
	return true
}

// clear forgets the failures of an account or a source, and reports whether there were any.
func (g *guesses) clear(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	account, source := g.failed.remove(accountKey(name)), g.failed.remove(sourceKey(name))
	return account || source
}

// Block is an account or a source whose next attempts to log in have to wait.
type Block struct {
	Name     string    `json:"name"`     // an address as it was given, or an IPv4 address or the first of an IPv6 /64
	Source   bool      `json:"source"`   // it is where attempts come from
	Failures int       `json:"failures"` // what time has left of them
	Last     time.Time `json:"last"`
	Delay    float64   `json:"delay"` // seconds that each further attempt waits
}

// blocks lists who has to wait, the worst first.
func (g *guesses) blocks(now time.Time) (all []Block) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.failed.all {
		if d := g.delay(now, f); d > 0 {
			all = append(all, Block{f.name, f.source, int(math.Round(g.left(now, f))), f.at.UTC().Truncate(time.Second), d.Seconds()})
		}
	}
	slices.SortFunc(all, func(a, b Block) int { return cmp.Or(cmp.Compare(b.Failures, a.Failures), cmp.Compare(a.Name, b.Name)) })
	return all
}
