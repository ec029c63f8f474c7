module github.com/errandhq/errand/conformance

go 1.26
