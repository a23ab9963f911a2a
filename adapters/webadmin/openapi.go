package webadmin

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/swaggest/openapi-go"
	"github.com/swaggest/openapi-go/openapi31"
)

// ours is how the paths of the routes begin that the OpenAPI document describes. What the others do is described by James's own documentation.
const ours = "/v1/"

// describeAll makes the OpenAPI 3.1 document of routes.
func describeAll(routes []Route) ([]byte, error) {
	r := openapi31.NewReflector()
	r.Spec.SetTitle("Streampost")
	r.Spec.SetVersion("1")
	r.Spec.SetDescription("Administration of a Streampost server. Routes that stream answer in lines of JSON (application/x-ndjson): progress and items, " +
		"then one result or one error; an answer without either was cut off.")
	r.Spec.SetHTTPBearerTokenSecurity("token", "", "The token of admin.json in the data directory, or one of the configuration")
	for _, route := range routes {
		if _, path, _ := strings.Cut(route.Pattern, " "); strings.HasPrefix(path, ours) {
			if err := describe(r, route); err != nil {
				return nil, fmt.Errorf("describe %s: %w", route.Pattern, err)
			}
		}
	}
	return r.Spec.MarshalJSON()
}

// describe adds a route to the document.
func describe(r *openapi31.Reflector, route Route) error {
	method, path, _ := strings.Cut(route.Pattern, " ")
	o, err := r.NewOperationContext(method, path)
	if err != nil {
		return err
	}
	o.SetSummary(route.Summary)
	o.SetTags(strings.Split(path, "/")[2])
	if parameters := route.parameters(path); parameters != nil {
		o.AddReqStructure(parameters)
	}
	if route.Body != nil {
		o.AddReqStructure(route.Body)
	} else if route.BodyType != "" {
		o.AddReqStructure(nil, openapi.WithContentType(route.BodyType))
	}
	answered := func(u *openapi.ContentUnit) { u.HTTPStatus = route.status(method) }
	switch {
	case route.AnswerType != "":
		o.AddRespStructure(nil, answered, openapi.WithContentType(route.AnswerType))
	case route.Streams:
		o.AddRespStructure(new(Line), answered, openapi.WithContentType("application/x-ndjson"))
	case route.Answer != nil:
		o.AddRespStructure(route.Answer, answered)
	default:
		o.AddRespStructure(nil, answered)
	}
	o.AddRespStructure(new(Error), func(u *openapi.ContentUnit) { u.IsDefault, u.Description = true, "What went wrong, and what to do" })
	if !route.Public {
		o.AddSecurity("token")
	}
	return r.AddOperation(o)
}

// status is what a route answers when all goes well.
func (route *Route) status(method string) int {
	switch {
	case route.Status != 0:
		return route.Status
	case route.Answer == nil && !route.Streams:
		return http.StatusNoContent
	}
	return http.StatusOK
}

var wildcard = regexp.MustCompile(`\{(\w+)(?:\.\.\.)?\}`)

// parameters makes a struct with a field for each parameter of the route's path and query, as the reflector wants it; nil if there are none.
func (route *Route) parameters(path string) any {
	var fields []reflect.StructField
	add := func(where, name, about string) {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("P%d", len(fields)), Type: reflect.TypeFor[string](), Tag: reflect.StructTag(fmt.Sprintf("%s:%q description:%q", where, name, about)),
		})
	}
	for _, found := range wildcard.FindAllStringSubmatch(path, -1) {
		add("path", found[1], wildcards[found[1]])
	}
	for _, q := range route.Query {
		add("query", q.Name, q.About)
	}
	if fields == nil {
		return nil
	}
	return reflect.New(reflect.StructOf(fields)).Interface()
}

// wildcards says what stands in a path.
var wildcards = map[string]string{
	"account":    "The account's id or one of its addresses",
	"address":    "An address",
	"node":       "The name of a node, as the cluster gives it",
	"blocked":    "The login or the address, as the list gives it",
	"domain":     "The domain's name",
	"letter":     "The dead letter's id",
	"message":    "The id of an entry of the queue, as the list gives it",
	"name":       "The name of the app password",
	"listener":   "The listener's id, such as opensearch-1",
	"webhook":    "The webhook's name in the configuration",
	"projection": "The projection's name",
	"repository": "The name of a repository of parked mail, such as error",
	"key":        "The key of a parked message, as the list gives it",
	"script":     "The name of a Sieve script",
	"queue":      "The name of the queue, such as outgoing",
	"selector":   "The name of a key in DNS, below _domainkey",
	"task":       "The task's id",
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	text, err := s.document()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // a client that went away hears nothing
	return nil
}
