package trace

// Flush publishes what waits.
var Flush = (*Log).flush
