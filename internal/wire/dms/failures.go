package dms

import (
	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/wire"
)

// failures is the table of errors, from the "Error Codes" pages of the three
// products. What the provider's gateway answers itself comes from wire.Gateway.
var failures = wire.Gateway.With(wire.Failures{
	errand.Internal: {
		"": {Status: 500, Code: "DMS.00500000", Msg: "Internal service error."},
	},
	errand.Invalid: {
		"":                 {Status: 400, Code: "DMS.00400800", Msg: "{msg}"},
		"project_id":       {Status: 400, Code: "DMS.00400002", Msg: "The project ID format is invalid."},
		"instance_id":      {Status: 400, Code: "DMS.00400061", Msg: "Invalid instance ID format."},
		"task_id":          {Status: 400, Code: "DMS.00400070", Msg: "Invalid task ID format."},
		"limit":            {Status: 400, Code: "DMS.00400062", Msg: "Invalid {0} parameter in the request."},
		"start":            {Status: 400, Code: "DMS.00400062", Msg: "Invalid {0} parameter in the request."},
		"offset":           {Status: 400, Code: "DMS.00400062", Msg: "Invalid {0} parameter in the request."},
		"status":           {Status: 400, Code: "DMS.00400062", Msg: "Invalid {0} parameter in the request."},
		"execute_at":       {Status: 400, Code: "DMS.00400142", Msg: "Timestamp is invalid."},
		"run_at":           {Status: 400, Code: "DMS.00400142", Msg: "Timestamp is invalid."},
		"time_range":       {Status: 400, Code: "DMS.00400062", Msg: "Invalid end_time parameter in the request."},
		"limit_too_large":  {Status: 400, Code: "DMS.10240042", Msg: "Invalid limit parameter in the request."},
		"start_too_large":  {Status: 400, Code: "DMS.10240043", Msg: "Invalid start parameter in the request."},
		"offset_too_large": {Status: 400, Code: "DMS.10240043", Msg: "Invalid offset parameter in the request."},
		"begin_time":       {Status: 400, Code: "DMS.00400142", Msg: "Timestamp is invalid."},
		"start_time":       {Status: 400, Code: "DMS.00400142", Msg: "Timestamp is invalid."},
		"end_time":         {Status: 400, Code: "DMS.00400142", Msg: "Timestamp is invalid."},
		"body":             {Status: 400, Code: "DMS.00400005", Msg: "The request body is not valid JSON."},
		"body_empty":       {Status: 400, Code: "DMS.00400004", Msg: "The request body is empty."},
		"method":           {Status: 405, Code: "DMS.00405001", Msg: "This request method is not allowed."},
	},
	errand.Unauthenticated: {
		"project_id": {Status: 401, Code: "DMS.10240104", Msg: "The project ID and token do not match."},
	},
	errand.Forbidden: {
		"": {Status: 403, Code: "DMS.00403003", Msg: "This role does not have the permissions to perform this operation."},
	},
	errand.NotFound: {
		"": {Status: 404, Code: "DMS.00404001", Msg: "The requested URL does not exist."},
		// The table's text has no "DMS"; what the service sends has, and the code is
		// what clients look at.
		"instance": {Status: 404, Code: "DMS.00404022", Msg: "This DMS instance does not exist."},
		"task":     {Status: 404, Code: "DMS.00404001", Msg: "This background task does not exist."},
	},
	errand.Conflict: {
		"":     {Status: 400, Code: "DMS.00400026", Msg: "This operation is not allowed due to the instance status."},
		"task": {Status: 400, Code: "DMS.00400017", Msg: "This DMS instance job task is still running."},
	},
	errand.LeaseLost: {
		"": {Status: 409, Code: "DMS.00400026", Msg: "{msg}"},
	},
})

func appendError(b []byte, row wire.Failure, _ *errand.Error, _ string) []byte {
	b = append(b, `{"error_code":`...)
	b = wire.AppendString(b, row.Code)
	b = append(b, `,"error_msg":`...)
	b = wire.AppendString(b, row.Msg)
	return append(b, '}')
}
