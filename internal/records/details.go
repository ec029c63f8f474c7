package records

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/errandhq/errand"
)

// detailMembers are the members that the provider's page documents for
// "details", with the type that its SDKs insist on. A member of another name is
// kept as it is.
//
// Source: DetailsBody, https://support.huaweicloud.com/api-dcs/ListBackgroundTask.html
var detailMembers = map[string]func(v value, member string) error{
	"old_capacity":            isString,
	"new_capacity":            isString,
	"enable_public_ip":        isBool,
	"public_ip_id":            isString,
	"public_ip_address":       isString,
	"enable_ssl":              isBool,
	"old_cache_mode":          isString,
	"new_cache_mode":          isString,
	"old_resource_spec_code":  isString,
	"new_resource_spec_code":  isString,
	"old_replica_num":         isInt,
	"new_replica_num":         isInt,
	"old_cache_type":          isString,
	"new_cache_type":          isString,
	"replica_ip":              isString,
	"replica_az":              isString,
	"group_name":              isString,
	"old_port":                isInt,
	"new_port":                isInt,
	"is_only_adjust_charging": isBool,
	"account_name":            isString,
	"source_ip":               isString,
	"target_ip":               isString,
	"node_name":               isString,
	"rename_commands":         isStrings,
	"updated_config_length":   isInt,
}

// readDetails checks the documented members of v and returns v in full.
func readDetails(v value) (json.RawMessage, error) {
	if v.raw[0] != '{' {
		return nil, v.wrongType("details", "an object")
	}
	err := v.members(func(name string, m value) error {
		if is, known := detailMembers[name]; known && !m.isNull() {
			return is(m, "details."+name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.compact(), nil
}

func isString(v value, member string) error {
	_, err := v.string(member)
	return err
}

func isBool(v value, member string) error {
	_, err := v.bool(member)
	return err
}

func isInt(v value, member string) error {
	_, err := v.int(member)
	return err
}

func isStrings(v value, member string) error {
	if v.raw[0] != '[' {
		return v.wrongType(member, "an array of strings")
	}
	return v.elements(func(_ int, e value) error { return isString(e, member) })
}

// Details returns those members of a JSON object that are documented for
// "details" and have the type that the provider's SDKs insist on, as an object
// in alphabetical order; nil if there are none.
func Details(object json.RawMessage) json.RawMessage {
	out := []byte{'{'}
	documented(object, func(name string, member json.RawMessage, fits bool) {
		if !fits {
			return
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, '"'), name...)
		out = append(append(out, '"', ':'), member...)
	})
	if len(out) == 1 {
		return nil
	}
	var compact bytes.Buffer
	if json.Compact(&compact, append(out, '}')) != nil {
		return nil
	}
	return compact.Bytes()
}

// CheckDetails reports, as Invalid about "details", the first documented member
// of a JSON object whose type is not the one that the provider's SDKs insist on.
// That something is no object is for others to say.
func CheckDetails(object json.RawMessage) error {
	var err error
	documented(object, func(name string, _ json.RawMessage, fits bool) {
		if !fits && err == nil {
			err = errand.Errorf(errand.Invalid, "details", "details.%s has another type than the provider documents, which its clients cannot read", name)
		}
	})
	return err
}

// documented calls each, in alphabetical order, for the members of a JSON object
// that are documented for "details" and not null, and says whether their type is
// the documented one.
func documented(object json.RawMessage, each func(name string, member json.RawMessage, fits bool)) {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		is, known := detailMembers[name]
		if v := (value{raw: members[name]}); known && !v.isNull() {
			each(name, v.raw, is(v, name) == nil)
		}
	}
}
