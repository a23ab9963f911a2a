package promotion

// Settle waits until nothing is being moved.
func (c *Controller) Settle() { c.work.Wait() }
