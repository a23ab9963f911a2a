package admission

import (
	"container/list"
	"time"
)

// Key names a bucket: a digest of whatever is counted.
type Key [16]byte

// Buckets count what is taken by many, each of whom may take so much an hour. Each has a bucket of tokens, which is full at first and fills again evenly: who has taken all of an hour at once waits for
// each further one. Buckets are not safe for use at once from several goroutines.
//
// Memory is bounded: of more than Most buckets the one that was used longest ago is forgotten, so it is full the next time.
type Buckets struct {
	Hourly int // tokens, and how many a bucket holds
	Most   int // buckets

	by    map[Key]*list.Element
	order list.List // of *bucket, the one used last in front
}

type bucket struct {
	key  Key
	left float64
	at   time.Time // to which left belongs
}

// at gives the bucket of a key as it is now.
func (b *Buckets) at(now time.Time, key Key) *bucket {
	if b.by == nil {
		b.by = map[Key]*list.Element{}
	}
	e, found := b.by[key]
	if !found {
		if b.order.Len() >= b.Most {
			oldest := b.order.Back()
			delete(b.by, b.order.Remove(oldest).(*bucket).key)
		}
		e = b.order.PushFront(&bucket{key: key, left: float64(b.Hourly), at: now})
		b.by[key] = e
	}
	b.order.MoveToFront(e)
	one := e.Value.(*bucket)
	if passed := now.Sub(one.at); passed > 0 {
		one.left = min(one.left+float64(b.Hourly)*passed.Hours(), float64(b.Hourly))
		one.at = now
	}
	return one
}

// Take takes a token, or says how long it takes until there is one.
func (b *Buckets) Take(now time.Time, key Key) (wait time.Duration, ok bool) {
	one := b.at(now, key)
	if one.left >= 1 {
		one.left--
		return 0, true
	}
	return time.Duration((1 - one.left) / float64(b.Hourly) * float64(time.Hour)), false
}

// Return puts a token back that was taken in vain.
func (b *Buckets) Return(now time.Time, key Key) {
	one := b.at(now, key)
	one.left = min(one.left+1, float64(b.Hourly))
}

// Lose takes what was taken elsewhere, or puts back what is less than nothing. It leaves no more than a bucket's worth of debt.
func (b *Buckets) Lose(now time.Time, key Key, n int) {
	one := b.at(now, key)
	one.left = min(max(one.left-float64(n), -float64(b.Hourly)), float64(b.Hourly))
}

// Len is how many buckets there are.
func (b *Buckets) Len() int { return b.order.Len() }
