// Package catalog lists the operations that Errand knows by itself: those that
// the provider's reference pages and clients name.
package catalog

import "github.com/errandhq/errand"

// Builtin returns the built-in operations.
func Builtin() []errand.Operation {
	var all []errand.Operation
	for _, e := range []errand.Engine{errand.Kafka, errand.RocketMQ, errand.RabbitMQ} {
		// Terraform's waiters for RocketMQ and RabbitMQ accept no other word
		// than CREATED before SUCCESS; those for Kafka accept it too.
		all = append(all,
			errand.Operation{Engine: e, Name: "bindInstancePublicIp", Title: "Enable public access", TitleZH: "开启公网访问", HideRunning: e != errand.Kafka},
			errand.Operation{Engine: e, Name: "unbindInstancePublicIp", Title: "Disable public access", TitleZH: "关闭公网访问", HideRunning: e != errand.Kafka},
		)
	}
	return append(all,
		errand.Operation{Engine: errand.Kafka, Name: "modifyAutoTopic", Title: "Switch automatic topic creation", TitleZH: "修改自动创建Topic"},
		errand.Operation{Engine: errand.Kafka, Name: "changeRetentionPolicy", Title: "Change the capacity threshold policy", TitleZH: "修改容量阈值策略"},
		errand.Operation{Engine: errand.Kafka, Name: "kafkaConfigModify", Title: "Modify parameters", TitleZH: "修改配置参数"},
		errand.Operation{Engine: errand.Kafka, Name: "kafkaResetConsumerOffset", Title: "Reset consumer offsets", TitleZH: "重置消费进度"},
		errand.Operation{Engine: errand.Kafka, Name: "kafkaClientQuotaCreate", Title: "Create a client quota", TitleZH: "创建客户端流控"},
		errand.Operation{Engine: errand.Kafka, Name: "kafkaClientQuotaModify", Title: "Modify a client quota", TitleZH: "修改客户端流控"},
		errand.Operation{Engine: errand.Kafka, Name: "kafkaClientQuotaDelete", Title: "Delete a client quota", TitleZH: "删除客户端流控"},
		errand.Operation{Engine: errand.RabbitMQ, Name: "rabbitmqPluginModify", Title: "Switch plug-ins", TitleZH: "修改插件", HideRunning: true},
		errand.Operation{Engine: errand.Redis, Name: "EXTEND", Title: "Change specifications", TitleZH: "变更规格"},
		errand.Operation{Engine: errand.Redis, Name: "BindEip", Title: "Enable public access", TitleZH: "开启公网访问"},
		errand.Operation{Engine: errand.Redis, Name: "UnBindEip", Title: "Disable public access", TitleZH: "关闭公网访问"},
		errand.Operation{Engine: errand.Redis, Name: "AddReplica", Title: "Add a replica", TitleZH: "添加副本"},
		errand.Operation{Engine: errand.Redis, Name: "DelReplica", Title: "Delete a replica", TitleZH: "删除副本"},
		errand.Operation{Engine: errand.Redis, Name: "AddWhitelist", Title: "Set the IP whitelist", TitleZH: "设置IP白名单"},
		errand.Operation{Engine: errand.Redis, Name: "UpdatePort", Title: "Change the port", TitleZH: "修改端口"},
		errand.Operation{Engine: errand.Redis, Name: "RemoveIpFromDns", Title: "Remove an address from the domain name", TitleZH: "域名摘除IP"},
		errand.Operation{Engine: errand.Redis, Name: "masterStandbySwapJob", Title: "Swap master and standby", TitleZH: "主备切换"},
		errand.Operation{Engine: errand.Redis, Name: "modify", Title: "Change the password", TitleZH: "修改密码"},
		errand.Operation{Engine: errand.Redis, Name: "DeleteAcl", Title: "Delete an account", TitleZH: "删除账号"},
		errand.Operation{Engine: errand.Redis, Name: "modifyClientIpTransJob", Title: "Switch client IP pass-through", TitleZH: "修改客户端IP透传"},
	)
}
