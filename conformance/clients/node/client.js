'use strict';
// Makes the calls of a script with the provider's Node SDK and writes down what
// the SDK returned. It judges nothing: the harness does.

const fs = require('fs');
const core = require('@huaweicloud/huaweicloud-sdk-core');

const clients = { kafka: 'KafkaClient', rocketmq: 'RocketMQClient', rabbitmq: 'RabbitMQClient', dcs: 'DcsClient' };

// connect builds a client as the SDK's own documentation shows it.
function connect(service, call) {
  const credentials = new core.BasicCredentials().withAk(call.AK).withSk(call.SK);
  if (call.Project) credentials.withProjectId(call.Project);
  if (call.Token) credentials.withSecurityToken(call.Token);
  if (call.IAM) credentials.withIamEndpoint(call.IAM);
  const builder = service[clients[call.Service]].newBuilder().withCredential(credentials);
  if (call.Region) return builder.withRegion(new core.Region(call.Region, [call.Endpoint])).build();
  return builder.withEndpoint(call.Endpoint).build();
}

const camel = (name) => name.replace(/_(.)/g, (_, c) => c.toUpperCase());

async function make(call) {
  let service;
  try {
    service = require(`@huaweicloud/huaweicloud-sdk-${call.Service}/v2/public-api`);
  } catch (e) {
    return { absent: 'no package for ' + call.Service };
  }
  if (call.Headers) return { absent: 'no way to add a header' };
  const Request = service[call.Method + 'Request'];
  if (!Request) return { absent: 'no ' + call.Method };
  const request = new Request();
  const args = { ...call.Args };
  if (call.Skip !== null) {
    if (request.withStart) args.start = call.Skip + 1;
    else args.offset = call.Skip;
  }
  for (const [name, value] of Object.entries(args)) {
    const set = camel('with_' + name);
    if (!request[set]) return { absent: `no parameter ${name} in ${call.Method}` };
    request[set](value);
  }
  const method = call.Method[0].toLowerCase() + call.Method.slice(1);
  const response = await connect(service, call)[method](request);
  const { httpStatusCode, ...result } = response;
  return { status: httpStatusCode, result };
}

async function attempt(call) {
  try {
    return await make(call);
  } catch (e) {
    if (e && e.httpStatusCode) { // the SDK does not export its exceptions' classes
      return { error: { status: e.httpStatusCode, code: e.errorCode, message: e.errorMsg, request_id: e.requestId } };
    }
    return { crash: String((e && e.stack) || e) };
  }
}

async function main(script, results) {
  const calls = JSON.parse(fs.readFileSync(script, 'utf8'));
  const out = fs.openSync(results, 'w');
  let last = false;
  for (let at = 0; at < calls.length; at++) {
    const call = calls[at];
    fs.writeSync(out, JSON.stringify({ ...(await attempt(call)), id: call.ID }) + '\n');
    if (call.Back && !last) { // once more after the file is there
      last = fs.existsSync(call.Until);
      await new Promise((done) => setTimeout(done, call.Pause));
      at -= call.Back + 1;
    }
  }
}

main(process.argv[2], process.argv[3]);
