package dcs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// failures is the table of errors, from the provider's page "Error Codes" of
// DCS. The digits of a code do not give the status. What the provider's gateway
// answers itself comes from wire.Gateway.
var failures = wire.Gateway.With(wire.Failures{
	errand.Internal: {
		"": {Status: 500, Code: "DCS.5000", Msg: "Internal service error."},
	},
	errand.Invalid: {
		"":                 {Status: 400, Code: "DCS.4800", Msg: "{msg}"},
		"project_id":       {Status: 400, Code: "DCS.4002", Msg: "Invalid project ID format."},
		"instance_id":      {Status: 400, Code: "DCS.4061", Msg: "Invalid instance ID format."},
		"task_id":          {Status: 400, Code: "DCS.4070", Msg: "Invalid task ID format."},
		"job_id":           {Status: 400, Code: "DCS.4063", Msg: "Invalid {0} parameter in the request."},
		"limit":            {Status: 400, Code: "DCS.4062", Msg: "Invalid {0} parameter in the request."},
		"offset":           {Status: 400, Code: "DCS.4062", Msg: "Invalid {0} parameter in the request."},
		"limit_too_large":  {Status: 400, Code: "DCS.4062", Msg: "Invalid limit parameter in the request."},
		"offset_too_large": {Status: 400, Code: "DCS.4062", Msg: "Invalid offset parameter in the request."},
		"start_time":       {Status: 400, Code: "DCS.4800", Msg: "Invalid {0} in the request."},
		"begin_time":       {Status: 400, Code: "DCS.4800", Msg: "Invalid {0} in the request."},
		"end_time":         {Status: 400, Code: "DCS.4800", Msg: "Invalid {0} in the request."},
		"time_range":       {Status: 400, Code: "DCS.4025", Msg: "The end time must be after the start time."},
		"body":             {Status: 400, Code: "DCS.4005", Msg: "The request body is not valid JSON."},
		"body_empty":       {Status: 400, Code: "DCS.4004", Msg: "The request body is empty."},
		"method":           {Status: 405, Code: "DCS.5001", Msg: "This request method is not allowed."},
	},
	errand.Unauthenticated: {
		"project_id": {Status: 401, Code: "DCS.1004", Msg: "Project ID does not match the token."},
	},
	errand.Forbidden: {
		"": {Status: 403, Code: "DCS.2003", Msg: "This role does not have the permissions to perform this operation."},
	},
	errand.NotFound: {
		"":         {Status: 404, Code: "DCS.4001", Msg: "The requested URL does not exist."},
		"instance": {Status: 404, Code: "DCS.3022", Msg: "This DCS instance does not exist."},
		"task":     {Status: 404, Code: "DCS.4001", Msg: "This background task does not exist."},
		"job":      {Status: 404, Code: "DCS.4001", Msg: "This job does not exist."},
	},
	errand.Conflict: {
		"":     {Status: 400, Code: "DCS.4026", Msg: "This operation is not allowed due to the instance status."},
		"task": {Status: 400, Code: "DCS.4957", Msg: "This operation is not allowed when the task is in the current state."},
	},
	errand.LeaseLost: {
		"": {Status: 409, Code: "DCS.4957", Msg: "{msg}"},
	},
})

func legacy(table wire.Failures) wire.Failures {
	out := table.With(nil)
	for _, rows := range out {
		for subject, row := range rows {
			if digits, ok := strings.CutPrefix(row.Code, "DCS."); ok {
				if n, err := strconv.Atoi(digits); err == nil {
					row.Code = fmt.Sprintf("111%03d%03d", row.Status, n%1000)
				}
			}
			rows[subject] = row
		}
	}
	return out
}

func appendError(b []byte, row wire.Failure, _ *errand.Error, _ string) []byte {
	b = append(b, `{"error_msg":`...)
	b = wire.AppendString(b, row.Msg)
	b = append(b, `,"error_code":`...)
	b = wire.AppendString(b, row.Code)
	return append(b, `,"error_ext_msg":null}`...)
}
