package processing

import (
	"maps"
	"sync"
)

var (
	registering sync.Mutex
	registered  = map[string]func() Filter{}
)

// Register adds a custom step, which steps of the action Custom name. It is for the init function of a package that a build of one's own imports. A name that is there already is a mistake of the program.
func Register(name string, fresh func() Filter) {
	registering.Lock()
	defer registering.Unlock()
	if registered[name] != nil {
		panic("processing: the custom step " + name + " is registered twice")
	}
	registered[name] = fresh
}

// Registered gives the custom steps that there are.
func Registered() map[string]func() Filter {
	registering.Lock()
	defer registering.Unlock()
	return maps.Clone(registered)
}
