// Package opensearchtest is a double of an OpenSearch cluster for tests: the requests that the index of messages uses, with external versions,
// aliases, refreshes, and the troubles of a real one. The tests that run against it run against a real one, too, when there is one.
package opensearchtest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Cluster is the double. Change its troubles through Trouble only.
type Cluster struct {
	URL string

	mu      sync.Mutex
	indexes map[string]*index
	aliases map[string]map[string]bool // index names by alias
	trouble Trouble
	bulks   int
}

// Trouble is what is wrong with the cluster.
type Trouble struct {
	Away    bool                          // every request fails with 503
	Busy    int                           // so many bulk requests are answered 429
	Refuse  func(doc map[string]any) bool // documents that the mapping does not take
	TooBig  int                           // octets of a bulk request above which it is answered 413; 0 means none
	Pending bool                          // refreshes do not happen, as in the second before one
}

type index struct {
	docs    map[string]*stored // by id
	visible []map[string]any   // as of the last refresh
}

type stored struct {
	version uint64
	doc     map[string]any
}

// New starts a Cluster that ends with the test.
func New(t testing.TB) *Cluster {
	c := &Cluster{indexes: map[string]*index{}, aliases: map[string]map[string]bool{}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// Trouble changes what is wrong.
func (c *Cluster) Trouble(f func(*Trouble)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.trouble)
}

// Bulks is the number of bulk requests that were taken.
func (c *Cluster) Bulks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bulks
}

type object = map[string]any

func fault(w http.ResponseWriter, status int, kind string) {
	answer(w, status, object{"error": object{"type": kind, "reason": "the reason may quote the document: secret"}, "status": status})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// ServeHTTP answers.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trouble.Away {
		fault(w, http.StatusServiceUnavailable, "cluster_block_exception")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case parts[0] == "_bulk":
		c.bulk(w, r)
	case parts[0] == "_aliases":
		c.alias(w, r)
	case parts[0] == "_alias" && len(parts) == 2:
		if len(c.aliases[last]) == 0 {
			w.WriteHeader(http.StatusNotFound)
		}
	case len(parts) == 1 && r.Method == http.MethodPut:
		c.create(w, r, last)
	case len(parts) == 1 && r.Method == http.MethodHead:
		if c.indexes[last] == nil {
			w.WriteHeader(http.StatusNotFound)
		}
	case len(parts) == 1 && r.Method == http.MethodGet:
		found := object{}
		for name := range c.indexes {
			if ok, _ := path.Match(last, name); ok {
				found[name] = object{}
			}
		}
		answer(w, http.StatusOK, found)
	case len(parts) == 1 && r.Method == http.MethodDelete:
		c.remove(w, last)
	case len(parts) == 2:
		x := c.resolve(parts[0])
		if x == nil {
			fault(w, http.StatusNotFound, "index_not_found_exception")
			return
		}
		c.ask(w, r, x, last)
	default:
		fault(w, http.StatusBadRequest, "illegal_argument_exception")
	}
}

func (c *Cluster) resolve(name string) *index {
	for n := range c.aliases[name] {
		return c.indexes[n]
	}
	return c.indexes[name]
}

func (c *Cluster) create(w http.ResponseWriter, r *http.Request, name string) {
	var body struct {
		Mappings struct {
			Dynamic string `json:"dynamic"`
		} `json:"mappings"`
		Aliases map[string]any `json:"aliases"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Mappings.Dynamic != "strict" {
		fault(w, http.StatusBadRequest, "parse_exception")
		return
	}
	if c.indexes[name] != nil {
		fault(w, http.StatusBadRequest, "resource_already_exists_exception")
		return
	}
	c.indexes[name] = &index{docs: map[string]*stored{}}
	for a := range body.Aliases {
		c.lead(a, name)
	}
	answer(w, http.StatusOK, object{"acknowledged": true})
}

func (c *Cluster) lead(alias, name string) {
	if c.aliases[alias] == nil {
		c.aliases[alias] = map[string]bool{}
	}
	c.aliases[alias][name] = true
}

func (c *Cluster) remove(w http.ResponseWriter, name string) {
	if c.indexes[name] == nil {
		fault(w, http.StatusNotFound, "index_not_found_exception")
		return
	}
	delete(c.indexes, name)
	for _, names := range c.aliases {
		delete(names, name)
	}
	answer(w, http.StatusOK, object{"acknowledged": true})
}

func (c *Cluster) alias(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Actions []map[string]struct {
			Index string `json:"index"`
			Alias string `json:"alias"`
		} `json:"actions"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		fault(w, http.StatusBadRequest, "parse_exception")
		return
	}
	for _, action := range body.Actions {
		for verb, a := range action {
			switch {
			case verb == "add" && c.indexes[a.Index] == nil:
				fault(w, http.StatusNotFound, "index_not_found_exception")
				return
			case verb == "add":
				c.lead(a.Alias, a.Index)
			default:
				for name := range c.aliases[a.Alias] {
					if ok, _ := path.Match(a.Index, name); ok {
						delete(c.aliases[a.Alias], name)
					}
				}
			}
		}
	}
	answer(w, http.StatusOK, object{"acknowledged": true})
}

func (c *Cluster) bulk(w http.ResponseWriter, r *http.Request) {
	switch {
	case c.trouble.Busy > 0:
		c.trouble.Busy--
		fault(w, http.StatusTooManyRequests, "rejected_execution_exception")
		return
	case c.trouble.TooBig > 0 && r.ContentLength > int64(c.trouble.TooBig):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	c.bulks++
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 64<<20)
	items := []any{}
	for lines.Scan() {
		var action struct {
			Index struct {
				Index        string `json:"_index"`
				ID           string `json:"_id"`
				Version      uint64 `json:"version"`
				VersionType  string `json:"version_type"`
				RequireAlias bool   `json:"require_alias"`
				Routing      string `json:"routing"`
			} `json:"index"`
		}
		doc := object{}
		if json.Unmarshal(lines.Bytes(), &action) != nil || !lines.Scan() || json.Unmarshal(lines.Bytes(), &doc) != nil {
			fault(w, http.StatusBadRequest, "illegal_argument_exception")
			return
		}
		o := action.Index
		x := c.resolve(o.Index)
		result := object{"_id": o.ID, "status": http.StatusCreated}
		failed := func(status int, kind string) {
			result["status"], result["error"] = status, object{"type": kind, "reason": "secret"}
		}
		switch {
		case x == nil || o.RequireAlias && len(c.aliases[o.Index]) == 0:
			failed(http.StatusNotFound, "index_not_found_exception")
		case o.Routing != doc["account"]:
			failed(http.StatusBadRequest, "routing_missing_exception")
		case c.trouble.Refuse != nil && c.trouble.Refuse(doc):
			failed(http.StatusBadRequest, "mapper_parsing_exception")
		default:
			old := x.docs[o.ID]
			if old != nil && (o.Version < old.version || o.Version == old.version && o.VersionType == "external") {
				failed(http.StatusConflict, "version_conflict_engine_exception")
				break
			}
			x.docs[o.ID] = &stored{o.Version, doc}
		}
		items = append(items, object{"index": result})
	}
	answer(w, http.StatusOK, object{"items": items})
}

func (x *index) refresh() {
	x.visible = nil
	for _, s := range x.docs {
		x.visible = append(x.visible, s.doc)
	}
}

// ask answers requests to one index. Unless they are pending, refreshes happen before each, as if a second had passed.
func (c *Cluster) ask(w http.ResponseWriter, r *http.Request, x *index, verb string) {
	if verb == "_refresh" || !c.trouble.Pending {
		x.refresh()
	}
	var body struct {
		Size        int       `json:"size"`
		Timeout     string    `json:"timeout"`
		Query       object    `json:"query"`
		PostFilter  object    `json:"post_filter"`
		Sort        []any     `json:"sort"`
		SearchAfter []float64 `json:"search_after"`
	}
	if r.ContentLength > 0 {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			fault(w, http.StatusBadRequest, "parsing_exception")
			return
		}
	}
	switch verb {
	case "_refresh":
		answer(w, http.StatusOK, object{})
	case "_count":
		answer(w, http.StatusOK, object{"count": len(x.visible)})
	case "_delete_by_query":
		for id, s := range x.docs {
			if slices.ContainsFunc(x.visible, func(v map[string]any) bool { return v["email"] == s.doc["email"] && v["account"] == s.doc["account"] }) && matches(s.doc, body.Query, nil) {
				delete(x.docs, id)
			}
		}
		answer(w, http.StatusOK, object{"deleted": 0})
	case "_search":
		if !timeUnits.MatchString(body.Timeout) {
			fault(w, http.StatusBadRequest, "parse_exception")
			return
		}
		search(w, x, body.Query, body.PostFilter, body.SearchAfter, body.Size)
	default:
		fault(w, http.StatusBadRequest, "illegal_argument_exception")
	}
}

// timeUnits is how OpenSearch has a time written: one number and one unit.
var timeUnits = regexp.MustCompile(`^(\d+(nanos|micros|ms|s|m|h|d))?$`)

func search(w http.ResponseWriter, x *index, query, post object, after []float64, size int) {
	docs := slices.Clone(x.visible)
	slices.SortFunc(docs, func(a, b map[string]any) int { return cmp.Compare(a["email"].(float64), b["email"].(float64)) })
	hits := []any{}
	total, count, gone, last, tx := 0, 0, 0, 0.0, 0.0
	for _, d := range docs {
		email := d["email"].(float64)
		if !matches(d, query, nil) || len(after) > 0 && email <= after[0] {
			continue
		}
		count++
		last = max(last, email)
		if d["gone"] == true {
			gone++
		} else {
			tx = max(tx, d["tx"].(float64))
		}
		var names []string
		if post != nil && !matches(d, post, &names) {
			continue
		}
		if total++; len(hits) < size {
			hits = append(hits, object{"fields": object{"email": []any{email}}, "matched_queries": names})
		}
	}
	answer(w, http.StatusOK, object{
		"hits":         object{"total": object{"value": total}, "hits": hits},
		"aggregations": object{"last": object{"value": last}, "count": object{"value": count}, "tx": object{"value": tx}, "gone": object{"doc_count": gone}},
	})
}

// matches judges a document by a query, and notes the names of all queries that it fits.
func matches(doc, query object, names *[]string) bool {
	for kind, q := range query {
		inner := q.(object)
		switch kind {
		case "bool":
			fits := true
			for _, f := range list(inner["filter"]) {
				fits = matches(doc, f.(object), names) && fits
			}
			for _, f := range list(inner["must_not"]) {
				fits = !matches(doc, f.(object), nil) && fits
			}
			if should := list(inner["should"]); len(should) > 0 {
				any := false
				for _, f := range should {
					any = matches(doc, f.(object), names) || any
				}
				fits = fits && any
			}
			if name, ok := inner["_name"].(string); ok && fits && names != nil {
				*names = append(*names, name)
			}
			return fits
		case "term":
			for field, want := range inner {
				text, tokenized := doc[field].(string)
				if field == "grams" && tokenized {
					return slices.Contains(strings.Fields(text), want.(string))
				}
				return doc[field] == want
			}
		case "range":
			for field, limits := range inner {
				n, ok := doc[field].(float64)
				l := limits.(object)
				return ok && bound(l, "gte", func(x float64) bool { return n >= x }) && bound(l, "lt", func(x float64) bool { return n < x }) && bound(l, "gt", func(x float64) bool { return n > x })
			}
		case "wildcard":
			for field, w := range inner {
				text, ok := doc[field].(string)
				pattern := w.(object)["value"].(string)
				needle := strings.NewReplacer(`\\`, `\`, `\*`, `*`, `\?`, `?`).Replace(pattern[1 : len(pattern)-1])
				return ok && strings.Contains(text, needle)
			}
		}
	}
	return false
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func bound(limits object, name string, ok func(float64) bool) bool {
	x, is := limits[name].(float64)
	return !is || ok(x)
}
