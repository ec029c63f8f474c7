package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/errandhq/errand"
)

// Error is an answer of the server that is no success.
type Error struct {
	Status    int           // of HTTP
	RequestID string        // as in the server's log, or ""
	Err       *errand.Error // what is wrong
}

// Error gives the server's message and the request's id.
func (e *Error) Error() string {
	if e.RequestID == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s (request %s)", e.Err.Error(), e.RequestID)
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

var kinds = map[string]errand.Kind{
	"internal":        errand.Internal,
	"invalid":         errand.Invalid,
	"unauthenticated": errand.Unauthenticated,
	"forbidden":       errand.Forbidden,
	"not_found":       errand.NotFound,
	"conflict":        errand.Conflict,
	"lease_lost":      errand.LeaseLost,
	"unavailable":     errand.Unavailable,
}

// kindOf is for answers that are not Errand's own, such as those of a proxy.
func kindOf(status int) errand.Kind {
	switch status {
	case http.StatusUnauthorized:
		return errand.Unauthenticated
	case http.StatusForbidden:
		return errand.Forbidden
	case http.StatusNotFound:
		return errand.NotFound
	case http.StatusConflict:
		return errand.Conflict
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errand.Unavailable
	}
	if status/100 == 4 {
		return errand.Invalid
	}
	return errand.Internal
}

// readError reads the body of an answer that is no success.
func readError(resp *http.Response) error {
	var body struct {
		Code    string `json:"error_code"`
		Msg     string `json:"error_msg"`
		Subject string `json:"subject"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if json.Unmarshal(text, &body) != nil || body.Msg == "" {
		return answerError(resp, errand.Errorf(kindOf(resp.StatusCode), "answer",
			"the server answered %d %s, and not as Errand does", resp.StatusCode, http.StatusText(resp.StatusCode)))
	}
	kind, known := kinds[body.Code]
	if !known {
		kind = kindOf(resp.StatusCode)
	}
	return answerError(resp, &errand.Error{Kind: kind, Subject: body.Subject, Msg: body.Msg})
}

func answerError(resp *http.Response, e *errand.Error) error {
	return &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id"), Err: e}
}
