package cli

import "time"

// when reads a time of a flag: RFC 3339, a date (its begin, in UTC), or a
// duration counted from now, forwards or, for sign -1, backwards.
func when(flag, text string, now time.Time, sign time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		if d < 0 {
			return time.Time{}, usage("--%s %s: write the duration without its sign", flag, text)
		}
		return now.Add(sign * d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("--%s %.64q is no time; write it like 2026-01-31T18:00:00Z, 2026-01-31, or 90m for a time %s now",
		flag, text, map[time.Duration]string{1: "from", -1: "before"}[sign])
}
