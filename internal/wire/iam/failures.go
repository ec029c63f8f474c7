package iam

import (
	"net/http"
	"strconv"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// failures is the table of errors. Credentials are refused by the provider's
// gateway, in its words; the rest has the form of the identity API, whose code
// is the status.
var failures = wire.Gateway.With(wire.Failures{
	errand.Internal: {
		"": {Status: 500, Msg: "An unexpected error prevented the server from fulfilling your request."},
	},
	errand.Invalid: {
		"":       {Status: 400, Msg: "{msg}"},
		"method": {Status: 405, Msg: "{msg}"},
	},
	errand.Unauthenticated: {
		"password": {Status: 401, Msg: "The username or password is wrong."},
	},
	errand.Forbidden: {
		"": {Status: 403, Msg: "You are not authorized to perform the requested action: {msg}"},
	},
	errand.NotFound: {
		"": {Status: 404, Msg: "{msg}"},
	},
	errand.Conflict: {
		"": {Status: 409, Msg: "{msg}"},
	},
	errand.LeaseLost: {
		"": {Status: 409, Msg: "{msg}"},
	},
})

// appendError appends an error of the identity API. Its code is a number, which
// clients of that API expect and the SDKs of other products pass over.
func appendError(b []byte, row wire.Failure, _ *errand.Error, _ string) []byte {
	b = append(b, `{"error":{"code":`...)
	b = strconv.AppendInt(b, int64(row.Status), 10)
	b = wire.AppendMember(b, "message", row.Msg)
	b = wire.AppendMember(b, "title", http.StatusText(row.Status))
	return append(b, "}}"...)
}
