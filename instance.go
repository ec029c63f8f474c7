package errand

import (
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// Engine is what an instance runs.
type Engine string

// The engines that Errand knows.
const (
	Kafka    Engine = "kafka"
	RocketMQ Engine = "rocketmq"
	RabbitMQ Engine = "rabbitmq"
	Redis    Engine = "redis"
)

// Engines lists every engine.
func Engines() []Engine { return []Engine{Kafka, RocketMQ, RabbitMQ, Redis} }

// Valid reports whether e is a known engine.
func (e Engine) Valid() bool { return slices.Contains(Engines(), e) }

// Instance is a managed resource that tasks work on.
type Instance struct {
	Project    string
	ID         string // a dashed UUID
	Name       string
	Engine     Engine
	Attributes map[string]string // free facts about it: version, flavour, address
	CreatedAt  time.Time         // when it was registered here
}

// The limits of an instance's members, in bytes and counts.
const (
	MaxNameLen       = 256
	MaxAttributes    = 64
	MaxAttributeLen  = 1024
	MaxParamsLen     = 64 << 10
	MaxDetailsLen    = 64 << 10
	MaxProgressSteps = 1000
)

// Validate reports the first thing that is wrong with i, as an Invalid Error
// whose Subject is the member.
func (i *Instance) Validate() error {
	switch {
	case !ValidProjectID(i.Project):
		return Errorf(Invalid, "project_id", "project id %.64q is neither 32 hex digits nor a UUID", i.Project)
	case !ValidInstanceID(i.ID):
		return Errorf(Invalid, "instance_id", "instance id %.64q is not a UUID in lower case, such as 5560df16-cebf-4473-95c4-d1b573c16e79", i.ID)
	case !i.Engine.Valid():
		return Errorf(Invalid, "engine", "engine %.64q is not one of %v", string(i.Engine), Engines())
	case !printable(i.Name) || len(i.Name) > MaxNameLen || i.Name == "":
		return Errorf(Invalid, "name", "an instance's name must be 1 to %d bytes of printable UTF-8", MaxNameLen)
	case len(i.Attributes) > MaxAttributes:
		return Errorf(Invalid, "attributes", "an instance has at most %d attributes, not %d", MaxAttributes, len(i.Attributes))
	}
	for k, v := range i.Attributes {
		if k == "" || !ValidText(k, MaxNameLen) || !ValidText(v, MaxAttributeLen) {
			return Errorf(Invalid, "attributes", "attribute %.64q: a name is 1 to %d bytes and a value at most %d, both UTF-8", k, MaxNameLen, MaxAttributeLen)
		}
	}
	return nil
}

// printable reports whether s is UTF-8 without control characters and the like.
func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// ValidText reports whether s is at most limit bytes of UTF-8 without NUL: what
// every store can keep as a text.
func ValidText(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if s[i] == 0 {
			return false
		}
	}
	return true
}
