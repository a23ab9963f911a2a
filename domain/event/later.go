//go:build failpoints

package event

import "reflect"

// OfLater is an event that only a later build knows, for tests of what an older one does with it.
type OfLater struct{}

func (*OfLater) fields(*coder) {}

// Learn has this process know OfLater.
func Learn() {
	const number = 99
	kinds[number] = func() Event { return new(OfLater) }
	numbers[reflect.TypeFor[*OfLater]()] = number
}
