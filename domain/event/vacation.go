package event

// VacationSet is how the account answers while its owner is away, in place of what was set before. Times are Unix seconds; 0 means no such bound.
type VacationSet struct {
	Enabled bool   `json:"enabled"`
	From    int64  `json:"from,omitempty"`
	To      int64  `json:"to,omitempty"`
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text,omitempty"`
	HTML    string `json:"html,omitempty"`
	Set     int64  `json:"set"` // when; a sender has one answer for each time that this is set
}

func (e *VacationSet) fields(c *coder) {
	c.Bool(1, &e.Enabled)
	c.Sint(2, &e.From)
	c.Sint(3, &e.To)
	c.String(4, &e.Subject)
	c.String(5, &e.Text)
	c.String(6, &e.HTML)
	c.Sint(7, &e.Set)
}
