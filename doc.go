// Package errand is the vocabulary of Errand, a self-hosted background-task
// service for managed middleware (Kafka, RocketMQ, RabbitMQ and Redis
// instances). Operators and programs submit operations on an instance; each
// runs as a durable task whose record is served through the background-task
// API of Huawei Cloud DMS and DCS.
//
// The package holds what the words mean and what a task may do: [Task] and its
// [Status], [Instance], [Operation], [Progress] and [Step], [Event], [Filter]
// and [Page], [Principal] and [Role], [Error]. It depends on the standard
// library only, keeps nothing and reads no clock. What may be asked by whom
// lives in the service (internal/tasks), where things are kept in a store
// (internal/sqlite), and how they are spelled on the wire in the dialects
// (internal/wire).
package errand
