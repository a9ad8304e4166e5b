// Calls the order service as any client of gRPC can: makes an order, gets it, watches for it, and is refused.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import tls from "node:tls";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const {
    ADDRESS = "localhost:50051",
    TLS_FOLDER = ".dev", // ca.pem, client.pem and client.key
    TOKEN_FILE = "token.txt", // something else keeps it fresh
    DESCRIPTORS = "build/image.binpb", // of `make build/image.binpb`; the .proto files will do, too
    TENANT = "acme",
} = process.env;

// our certificate is shown, and the service's CA alone is trusted
const file = (name) => readFileSync(join(TLS_FOLDER, name));
const secured = grpc.credentials.createFromSecureContext(
    tls.createSecureContext({
        ca: file("ca.pem"),
        cert: file("client.pem"),
        key: file("client.key"),
        minVersion: "TLSv1.3",
    }),
);

// read for each call anew; grpc-js never sends it without TLS
const withToken = grpc.credentials.createFromMetadataGenerator((_call, answer) => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${readFileSync(TOKEN_FILE, "utf8").trim()}`);
    answer(null, metadata);
});

const { OrderService } = grpc.loadPackageDefinition(
    loader.loadFileDescriptorSetFromBuffer(readFileSync(DESCRIPTORS), { longs: String }),
).order_service.v1;
const client = new OrderService(ADDRESS, grpc.credentials.combineChannelCredentials(secured, withToken));

// what methods ask for whose rule says `replay_protected`: new for each call
function proof() {
    const metadata = new grpc.Metadata();
    metadata.set("request-nonce", randomUUID());
    metadata.set("request-time", (Date.now() / 1000).toFixed(3));
    return metadata;
}

const deadline = () => ({ deadline: Date.now() + 10_000 });

function unary(method, request, metadata = new grpc.Metadata()) {
    return new Promise((resolve, reject) => {
        client[method](request, metadata, deadline(), (error, answer) => (error ? reject(error) : resolve(answer)));
    });
}

const made = await unary("CreateOrder", { tenant: TENANT, title: "tea" }, proof());
console.log("made:", made.order.title);

const got = await unary("GetOrder", { tenant: TENANT, id: made.order.id });
console.log("got:", got.order.title);

const watch = client.WatchOrders({ tenant: TENANT }, deadline());
for await (const change of watch) {
    console.log("watched:", change.order.title);
    break; // which cancels the call
}

try {
    await unary("GetOrder", { tenant: TENANT, id: "none" });
} catch (error) {
    console.log("refused:", grpc.status[error.code], error.details);
}
client.close();
