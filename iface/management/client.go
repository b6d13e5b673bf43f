package management

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
)

// Client calls the verbs of a running node.
type Client struct {
	http *http.Client
}

// NewClient returns a client of the socket at path. It connects when it is used.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}}}
}

// Call calls verb with in and decodes its answer into out, which may be nil. A refusal is a *Error.
func (c *Client) Call(ctx context.Context, verb string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("management: input of %s: %w", verb, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://imsafe/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("management: the node cannot be reached: %w", err)
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode != http.StatusOK {
		refusal := &Error{Code: "management.failed", Message: response.Status}
		_ = decoder.Decode(refusal) // an answer without a body still has its status
		return refusal
	}
	if out == nil {
		return nil
	}
	if err := decoder.Decode(out); err != nil {
		return fmt.Errorf("management: answer of %s: %w", verb, err)
	}
	return nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
