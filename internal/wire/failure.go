package wire

import (
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/errandhq/errand"
)

// Failure is how a dialect words an error. In Msg, "{0}" stands for the
// error's Subject and "{msg}" for its message.
type Failure struct {
	Status  int
	Code    string
	Msg     string
	Gateway bool // the provider's gateway answers this, before the service: another body
}

// Failures is a dialect's table of errors, by kind and then by subject. The
// subject "" stands for every subject of its kind that has no row of its own.
type Failures map[errand.Kind]map[string]Failure

// Of returns the row for e: its own, else that of its kind.
func (f Failures) Of(e *errand.Error) Failure {
	row, ok := f[e.Kind][e.Subject]
	if !ok {
		row = f[e.Kind][""]
	}
	row.Msg = strings.NewReplacer("{0}", e.Subject, "{msg}", e.Msg).Replace(row.Msg)
	return row
}

// With returns the table with the rows of more added or put in place of its own.
func (f Failures) With(more Failures) Failures {
	all := make(Failures, len(f)+len(more))
	for _, table := range []Failures{f, more} {
		for kind, rows := range table {
			if all[kind] == nil {
				all[kind] = make(map[string]Failure, len(rows))
			}
			maps.Copy(all[kind], rows)
		}
	}
	return all
}

// Gateway holds the answers of the provider's API gateway, which stands before
// every product and refuses what never reaches one (API Gateway error codes).
var Gateway = Failures{
	errand.Invalid: {
		"request":     {Status: 400, Code: "APIGW.0201", Msg: "API request error.", Gateway: true},
		"body_size":   {Status: 413, Code: "APIGW.0201", Msg: "Request entity too large.", Gateway: true},
		"uri_size":    {Status: 414, Code: "APIGW.0201", Msg: "Request URI too large.", Gateway: true},
		"header_size": {Status: 494, Code: "APIGW.0201", Msg: "Request headers too large.", Gateway: true},
	},
	errand.Unauthenticated: {
		"": {Status: 401, Code: "APIGW.0301", Msg: "Incorrect IAM authentication information: {msg}", Gateway: true},
	},
	errand.NotFound: {
		"url": {Status: 404, Code: "APIGW.0101", Msg: "The API does not exist or has not been published in the environment.", Gateway: true},
	},
	errand.Unavailable: {
		"": {Status: 503, Code: "APIGW.0613", Msg: "{msg}", Gateway: true},
	},
}

// Fail answers r with err in the dialect's words. Whatever is not meant for
// clients stays in the exchange, for the log.
func (d *Dialect) Fail(w http.ResponseWriter, r *http.Request, err error) {
	x := ExchangeOf(r)
	x.Dialect, x.Err = d.Name, err
	e := errand.ErrorOf(err)
	row := d.Failures.Of(e)
	reply := newReply()
	reply.Status = row.Status
	if row.Gateway {
		reply.Body = appendGatewayError(reply.Body, row, x.ID)
	} else {
		reply.Body = d.AppendError(reply.Body, row, e, x.ID)
	}
	if row.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	reply.send(r.Context(), w, r.Method)
}

// retryAfter is how many seconds a client is asked to wait when the server is
// unavailable: its usual causes, a full disk or a restart, take longer than a
// moment.
const retryAfter = 5

func appendGatewayError(b []byte, row Failure, id string) []byte {
	b = append(b, `{"error_msg":`...)
	b = AppendString(b, row.Msg)
	b = append(b, `,"error_code":`...)
	b = AppendString(b, row.Code)
	b = append(b, `,"request_id":`...)
	b = AppendString(b, id)
	return append(b, '}')
}
