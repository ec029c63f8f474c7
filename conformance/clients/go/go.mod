// The releases of the SDK are chosen by the other *.mod files: go build -modfile=v0.1.207.mod
module github.com/errandhq/errand/conformance/clients/go

go 1.26
