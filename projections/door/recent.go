package door

import "container/list"

// recent is a map that keeps what was used last, up to a bound. Its owner locks it.
type recent[K comparable, V any] struct {
	most  int
	byKey map[K]*list.Element
	order list.List // of *item[K, V], the most recently used first
}

type item[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{most: most, byKey: map[K]*list.Element{}}
}

// peek finds a value without using it.
func (r *recent[K, V]) peek(key K) (value V, ok bool) {
	if place, ok := r.byKey[key]; ok {
		return place.Value.(*item[K, V]).value, true
	}
	return value, false
}

// use finds a value and makes it the most recent one.
func (r *recent[K, V]) use(key K) (value V, ok bool) {
	if place, ok := r.byKey[key]; ok {
		r.order.MoveToFront(place)
		return place.Value.(*item[K, V]).value, true
	}
	return value, false
}

// put sets a value, the most recent one then, and forgets the oldest where there are too many.
func (r *recent[K, V]) put(key K, value V) {
	r.remove(key)
	r.byKey[key] = r.order.PushFront(&item[K, V]{key, value})
	for len(r.byKey) > r.most {
		r.remove(r.order.Back().Value.(*item[K, V]).key)
	}
}

func (r *recent[K, V]) remove(key K) (was bool) {
	place, was := r.byKey[key]
	if was {
		r.order.Remove(place)
		delete(r.byKey, key)
	}
	return was
}

// all yields what is kept, the most recently used first. Nothing may be changed meanwhile.
func (r *recent[K, V]) all(yield func(K, V) bool) {
	for place := r.order.Front(); place != nil; place = place.Next() {
		if i := place.Value.(*item[K, V]); !yield(i.key, i.value) {
			return
		}
	}
}
