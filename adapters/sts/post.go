package sts

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Post sends a packed report about TLS to an address of https that a domain has named (RFC 8460 section 5.4). Redirections are not followed. Errors: domain.Invalid, domain.Unavailable.
func (c *Cache) Post(ctx context.Context, url string, packed []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(packed))
	if err != nil || request.URL.User != nil || !strings.EqualFold(request.URL.Scheme, "https") {
		return domain.Errorf(domain.Invalid, "no report can be posted to %.200q", url)
	}
	request.Header.Set("Content-Type", "application/tlsrpt+gzip")
	answer, err := c.client.Do(request)
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "post a report about TLS")
	}
	_ = answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return domain.Wrap(domain.Unavailable, fmt.Errorf("the web server says %s", answer.Status), "post a report about TLS")
	}
	return nil
}
