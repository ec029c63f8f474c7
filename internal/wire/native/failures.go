package native

import (
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// failures says how each kind of error is answered. The code of a kind is the
// kind; what it is about is the member "subject" of the body.
var failures = wire.Failures{
	errand.Internal: {
		"": {Status: 500, Code: "internal", Msg: "internal error; the request id is in the server's log"},
	},
	errand.Invalid: {
		"":            {Status: 400, Code: "invalid", Msg: "{msg}"},
		"method":      {Status: 405, Code: "invalid", Msg: "{msg}"},
		"body_size":   {Status: 413, Code: "invalid", Msg: "{msg}"},
		"size":        {Status: 413, Code: "invalid", Msg: "{msg}"},
		"uri_size":    {Status: 414, Code: "invalid", Msg: "{msg}"},
		"header_size": {Status: 431, Code: "invalid", Msg: "{msg}"},
	},
	errand.Unauthenticated: {
		"":            {Status: 401, Code: "unauthenticated", Msg: "authentication failed: {msg}"},
		"credentials": {Status: 401, Code: "unauthenticated", Msg: "the request has no credentials: sign it with an access key (SDK-HMAC-SHA256), or send a token in X-Auth-Token"},
		"project_id":  {Status: 401, Code: "unauthenticated", Msg: "{msg}"},
	},
	errand.Forbidden: {
		"": {Status: 403, Code: "forbidden", Msg: "{msg}"},
	},
	errand.NotFound: {
		"": {Status: 404, Code: "not_found", Msg: "{msg}"},
	},
	errand.Conflict: {
		"": {Status: 409, Code: "conflict", Msg: "{msg}"},
	},
	errand.LeaseLost: {
		"": {Status: 409, Code: "lease_lost", Msg: "{msg}"},
	},
	errand.Unavailable: {
		"": {Status: 503, Code: "unavailable", Msg: "{msg}"},
	},
}

func appendError(b []byte, row wire.Failure, e *errand.Error, requestID string) []byte {
	b = wire.AppendMember(append(b, '{'), "error_code", row.Code)
	b = wire.AppendMember(b, "error_msg", row.Msg)
	if e.Kind != errand.Internal && e.Subject != "" {
		// The provider has codes of its own for numbers that are too large; here
		// the parameter is what it is about.
		b = wire.AppendMember(b, "subject", strings.TrimSuffix(e.Subject, "_too_large"))
	}
	b = wire.AppendMember(b, "request_id", requestID)
	return append(b, '}')
}
