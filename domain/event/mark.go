package event

// MarkSet is something that later deliveries into the account have to know, for a while: that a message of this name has come, that a sender had an answer, or what else a
// kind stands for. A mark that is there already only ever gets a later end. Folding takes away those of its kind that have ended by At.
type MarkSet struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	At    int64  `json:"at"`    // Unix seconds
	Until int64  `json:"until"` // likewise
}

func (e *MarkSet) fields(c *coder) {
	c.String(1, &e.Kind)
	c.String(2, &e.Name)
	c.Sint(3, &e.At)
	c.Sint(4, &e.Until)
}
