"""Makes the calls of a script with the provider's Python SDK and writes down
what the SDK returned. It judges nothing: the harness does. Calls are found by
name, so that one source serves every release of the SDK."""

import importlib
import json
import os
import re
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.region.region import Region

CLIENTS = {"kafka": "KafkaClient", "rocketmq": "RocketMQClient", "rabbitmq": "RabbitMQClient", "dcs": "DcsClient"}


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def connect(package, call):
    """Builds a client as the SDK's own documentation shows it."""
    credentials = BasicCredentials(call["AK"], call["SK"], call["Project"] or None)
    if call["Token"]:
        credentials = credentials.with_security_token(call["Token"])
    if call["IAM"]:
        credentials = credentials.with_iam_endpoint(call["IAM"])
    builder = getattr(package, CLIENTS[call["Service"]]).new_builder().with_credentials(credentials)
    if call["Region"]:
        return builder.with_region(Region(call["Region"], call["Endpoint"])).build()
    return builder.with_endpoint(call["Endpoint"]).build()


def make(call):
    package = importlib.import_module("huaweicloudsdk%s.v2" % call["Service"])
    request_class = getattr(package, call["Method"] + "Request", None)
    if request_class is None:
        return {"absent": "no " + call["Method"]}
    args = dict(call["Args"] or {})
    if call["Skip"] is not None:
        if "start" in request_class.openapi_types:
            args["start"] = call["Skip"] + 1
        else:
            args["offset"] = call["Skip"]
    for name in args:
        if name not in request_class.attribute_map.values():
            return {"absent": "no parameter %s in %s" % (name, call["Method"])}
    attribute = {wire: name for name, wire in request_class.attribute_map.items()}
    request = request_class(**{attribute[name]: value for name, value in args.items()})
    client = connect(package, call)
    if call["Headers"]:
        invoker = getattr(client, snake(call["Method"]) + "_invoker", None)
        if invoker is None:
            return {"absent": "no way to add a header"}
        invoker = invoker(request)
        for name, value in call["Headers"].items():
            invoker.add_header(name, value)
        response = invoker.invoke()
    else:
        response = getattr(client, snake(call["Method"]))(request)
    return {"status": response.status_code, "result": wire_names(response)}


def wire_names(value):
    """Returns a model as JSON values under their wire names."""
    if isinstance(value, list):
        return [wire_names(v) for v in value]
    if hasattr(value, "attribute_map"):
        return {wire: wire_names(getattr(value, name)) for name, wire in value.attribute_map.items()}
    return value


def attempt(call):
    try:
        return make(call)
    except ServiceResponseException as e:
        return {"error": {"status": e.status_code, "code": e.error_code, "message": e.error_msg, "request_id": e.request_id}}
    except Exception as e:  # whatever the SDK raises is a finding
        return {"crash": "%s: %s" % (type(e).__name__, e)}


def main(script, results):
    with open(script, encoding="utf-8") as f:
        calls = json.load(f)
    at, last = 0, False
    with open(results, "w", encoding="utf-8", buffering=1) as out:
        while at < len(calls):
            call = calls[at]
            out.write(json.dumps(dict(attempt(call), id=call["ID"])) + "\n")
            at += 1
            if call["Back"] and not last:  # once more after the file is there
                last = os.path.exists(call["Until"])
                time.sleep(call["Pause"] / 1000)
                at -= call["Back"] + 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
