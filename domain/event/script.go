package event

// SieveScriptStored is a script (RFC 5228) under a name, which may have had another one before. Content is what the user gave, octet by octet.
type SieveScriptStored struct {
	Name    string `json:"name"`
	Content string `json:"content"`
}

func (e *SieveScriptStored) fields(c *coder) {
	c.String(1, &e.Name)
	c.String(2, &e.Content)
}

// SieveScriptRenamed gives a script another name. One that is active stays so.
type SieveScriptRenamed struct {
	Name string `json:"name"`
	To   string `json:"to"`
}

func (e *SieveScriptRenamed) fields(c *coder) {
	c.String(1, &e.Name)
	c.String(2, &e.To)
}

// SieveScriptDeleted removes a script.
type SieveScriptDeleted struct {
	Name string `json:"name"`
}

func (e *SieveScriptDeleted) fields(c *coder) { c.String(1, &e.Name) }

// SieveScriptActivated makes a script the one that runs at delivery, in place of any other; none runs when Name is empty.
type SieveScriptActivated struct {
	Name string `json:"name"`
}

func (e *SieveScriptActivated) fields(c *coder) { c.String(1, &e.Name) }
