package event

// MappingKind says what a mapping makes of mail for its source.
type MappingKind string

// The kinds of mapping. The source of the first three is an address; that of the last two is "@" and a domain. Address, Error and Regex take both, where a domain
// stands for every address in it that leads nowhere else.
const (
	Alias       MappingKind = "alias"       // another name of the target
	Group       MappingKind = "group"       // the target is a member
	Forward     MappingKind = "forward"     // the user of the source has it sent to the target; the source itself as a target keeps a copy
	Address     MappingKind = "address"     // the target in the place of the source
	Error       MappingKind = "error"       // the target is a refusal: a code, an enhanced code and a text
	Regex       MappingKind = "regex"       // the target is an expression and what it is replaced by
	Domain      MappingKind = "domain"      // the same local part in the target's domain, which may be anywhere
	DomainAlias MappingKind = "domainAlias" // the same local part in the target's domain, which is local
)

// MappingAdded makes mail for a source go to a target. Both are normalised.
type MappingAdded struct {
	Source string      `json:"source"`
	Kind   MappingKind `json:"kind"`
	Target string      `json:"target"`
}

func (e *MappingAdded) fields(c *coder) {
	c.String(1, &e.Source)
	stringField(c, 2, &e.Kind)
	c.String(3, &e.Target)
}

// MappingRemoved ends a mapping.
type MappingRemoved struct {
	Source string      `json:"source"`
	Kind   MappingKind `json:"kind"`
	Target string      `json:"target"`
}

func (e *MappingRemoved) fields(c *coder) {
	c.String(1, &e.Source)
	stringField(c, 2, &e.Kind)
	c.String(3, &e.Target)
}
