package records

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkRead(b *testing.B) {
	var s strings.Builder
	for i := range 1000 {
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteString(strings.Replace(record(`"user_name":"u","user_id":"`+user+`","details":{"old_capacity":"0.125","new_capacity":"0.25","old_port":6379},"enable_show":false,`), id1, fmt.Sprintf("%032x", i), 1))
	}
	input := `{"task_count":"1000","tasks":[` + s.String() + `]}`
	b.SetBytes(int64(len(input)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Read(strings.NewReader(input), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
