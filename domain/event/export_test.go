package event

// Sample gives the event with a value other than zero in every field, to tests of what others make of events.
var Sample = sample

// Update is the flag -update.
var Update = update
