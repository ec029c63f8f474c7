module github.com/errandhq/errand/conformance/clients/go

go 1.26

require github.com/huaweicloud/huaweicloud-sdk-go-v3 v0.1.207
