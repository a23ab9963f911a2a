package outgoing

// Ended is closed when nothing new is begun.
func (w *Worker) Ended() <-chan struct{} { return w.ended }
