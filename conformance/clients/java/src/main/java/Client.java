import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.huaweicloud.sdk.core.ClientBuilder;
import com.huaweicloud.sdk.core.SdkResponse;
import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.huaweicloud.sdk.core.exception.ServiceResponseException;
import com.huaweicloud.sdk.core.region.Region;
import java.io.File;
import java.io.PrintWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Makes the calls of a script with the provider's Java SDK and writes down what the SDK returned. It
 * judges nothing: the harness does. Calls are found by name, so that one source serves every release.
 */
public class Client {
    private static final ObjectMapper JSON =
            new ObjectMapper()
                    .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
                    .disable(SerializationFeature.FAIL_ON_EMPTY_BEANS);
    private static final Map<String, String> CLIENTS =
            Map.of("kafka", "KafkaClient", "rocketmq", "RocketMQClient", "rabbitmq", "RabbitMQClient", "dcs", "DcsClient");

    public static void main(String[] args) throws Exception {
        JsonNode calls = JSON.readTree(new File(args[0]));
        boolean last = false;
        try (PrintWriter out = new PrintWriter(args[1], StandardCharsets.UTF_8)) {
            for (int i = 0; i < calls.size(); i++) {
                JsonNode call = calls.get(i);
                ObjectNode seen = attempt(call);
                seen.set("id", call.get("ID"));
                out.println(JSON.writeValueAsString(seen));
                out.flush();
                if (call.get("Back").asInt() > 0 && !last) { // once more after the file is there
                    last = new File(call.get("Until").asText()).exists();
                    Thread.sleep(call.get("Pause").asInt());
                    i -= call.get("Back").asInt() + 1;
                }
            }
        }
        System.exit(0); // some releases leave the threads of their HTTP client running
    }

    private static ObjectNode attempt(JsonNode call) {
        ObjectNode seen = JSON.createObjectNode();
        Throwable thrown;
        try {
            return make(call, seen);
        } catch (InvocationTargetException e) {
            thrown = e.getCause();
        } catch (Exception e) {
            thrown = e;
        }
        if (thrown instanceof ServiceResponseException) {
            ServiceResponseException e = (ServiceResponseException) thrown;
            ObjectNode error = seen.putObject("error");
            error.put("status", e.getHttpStatusCode()).put("code", e.getErrorCode());
            error.put("message", e.getErrorMsg()).put("request_id", e.getRequestId());
            return seen;
        }
        return seen.put("crash", thrown.toString());
    }

    private static ObjectNode make(JsonNode call, ObjectNode seen) throws Exception {
        String service = "com.huaweicloud.sdk." + call.get("Service").asText() + ".v2.";
        String name = call.get("Method").asText();
        Class<?> requestClass;
        try {
            requestClass = Class.forName(service + "model." + name + "Request");
        } catch (ClassNotFoundException e) {
            return seen.put("absent", "no " + name);
        }
        Object request;
        try {
            request = JSON.convertValue(arguments(call, requestClass), requestClass);
        } catch (IllegalArgumentException e) {
            return seen.put("absent", "no such parameter in " + name + ": " + e.getMessage());
        }
        String method = Character.toLowerCase(name.charAt(0)) + name.substring(1);
        Object client = connect(call, Class.forName(service + CLIENTS.get(call.get("Service").asText())));
        Object response;
        if (call.get("Headers").isNull()) {
            response = client.getClass().getMethod(method, requestClass).invoke(client, request);
        } else {
            Object invoker = client.getClass().getMethod(method + "Invoker", requestClass).invoke(client, request);
            Method add = invoker.getClass().getMethod("addHeader", String.class, String.class);
            for (Map.Entry<String, JsonNode> h : (Iterable<Map.Entry<String, JsonNode>>) call.get("Headers")::fields) {
                add.invoke(invoker, h.getKey(), h.getValue().asText());
            }
            response = invoker.getClass().getMethod("invoke").invoke(invoker);
        }
        ObjectNode result = JSON.valueToTree(response);
        result.remove("httpStatusCode");
        seen.set("result", result);
        return seen.put("status", ((SdkResponse) response).getHttpStatusCode());
    }

    /** Returns the arguments under their wire names. */
    private static ObjectNode arguments(JsonNode call, Class<?> requestClass) {
        ObjectNode args = JSON.createObjectNode();
        if (!call.get("Args").isNull()) {
            args.setAll((ObjectNode) call.get("Args"));
        }
        if (!call.get("Skip").isNull()) {
            int skip = call.get("Skip").asInt();
            try {
                requestClass.getMethod("getStart");
                args.put("start", skip + 1);
            } catch (NoSuchMethodException e) {
                args.put("offset", skip);
            }
        }
        return args;
    }

    /** Builds a client as the SDK's own documentation shows it. */
    private static Object connect(JsonNode call, Class<?> type) throws Exception {
        BasicCredentials credentials = new BasicCredentials();
        credentials.withAk(call.get("AK").asText()).withSk(call.get("SK").asText());
        if (!call.get("Project").asText().isEmpty()) {
            credentials.withProjectId(call.get("Project").asText());
        }
        if (!call.get("Token").asText().isEmpty()) {
            credentials.withSecurityToken(call.get("Token").asText());
        }
        if (!call.get("IAM").asText().isEmpty()) {
            credentials.withIamEndpoint(call.get("IAM").asText());
        }
        ClientBuilder<?> builder = (ClientBuilder<?>) type.getMethod("newBuilder").invoke(null);
        builder.withCredential(credentials);
        String endpoint = call.get("Endpoint").asText();
        if (call.get("Region").asText().isEmpty()) {
            builder.withEndpoint(endpoint);
        } else {
            builder.withRegion(new Region(call.get("Region").asText(), endpoint));
        }
        return builder.build();
    }
}
