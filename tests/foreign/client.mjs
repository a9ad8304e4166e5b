// A client in Node. It reads what to do from standard input, makes the calls one after another on one channel, and
// prints JSON lines: {"response": ...} for each message that comes, then {"ended": ...} for how the call ended.
import { readFileSync } from "node:fs";
import tls from "node:tls";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const DETAILS_KEY = "grpc-status-details-bin";
const SECONDS = 20;
const FORM = { longs: String, enums: String };

const job = JSON.parse(readFileSync(0, "utf8"));
const image = loader.loadFileDescriptorSetFromBuffer(readFileSync(job.image), FORM);
const rpc = loader.loadSync(["google/rpc/error_details.proto", "google/rpc/status.proto"], {
    ...FORM,
    includeDirs: [job.protos],
});
const Service = grpc.makeGenericClientConstructor(image[job.service], job.service);

function print(line) {
    process.stdout.write(`${JSON.stringify(line)}\n`);
}

function credentials() {
    const ca = readFileSync(job.ca);
    const pair = job.certificate ? { key: readFileSync(job.key), cert: readFileSync(job.certificate) } : {};
    const versions = { minVersion: "TLSv1.2", maxVersion: job.newest_tls };
    return grpc.credentials.createFromSecureContext(tls.createSecureContext({ ca, ...pair, ...versions }));
}

function metadataOf(call) {
    const metadata = new grpc.Metadata();
    for (const [key, value] of Object.entries(call.metadata)) {
        metadata.add(key, value);
    }
    return metadata;
}

// google.rpc.Status as AIP-193 has it: each detail by the name of its type
function detailsOf(metadata) {
    const [packed] = metadata.get(DETAILS_KEY);
    const told = packed ? rpc["google.rpc.Status"].deserialize(packed) : { details: [] };
    const named = (told.details ?? []).map((any) => {
        const type = any.type_url.replace(/^.*\//, "");
        return [type, rpc[type].deserialize(any.value)];
    });
    return { status: packed ? { code: told.code, message: told.message } : null, details: Object.fromEntries(named) };
}

function endOf(status) {
    const [correlationId = ""] = status.metadata.get("correlation-id");
    const { code, details: message } = status;
    return { ended: { code, message, ...detailsOf(status.metadata), correlation_id: correlationId } };
}

// Starts the call, whatever its kind; `answered` takes the one response where there is but one
function start(client, call, answered) {
    const metadata = metadataOf(call);
    const options = { deadline: new Date(Date.now() + SECONDS * 1000) };
    if (call.raw !== null) {
        const same = (bytes) => bytes;
        return client.makeUnaryRequest(call.path, same, same, Buffer.from(call.raw), metadata, options, answered);
    }
    const { requestStream, responseStream } = image[job.service][call.method];
    const first = requestStream ? [] : [call.requests[0]];
    const last = responseStream ? [] : [answered];
    const started = client[call.method](...first, metadata, options, ...last);
    if (requestStream) {
        call.requests.forEach((request) => started.write(request));
        if (!call.left_open) {
            started.end();
        }
    }
    return started;
}

function make(client, call) {
    return new Promise((resolve) => {
        const answered = (error, response) => error || print({ response });
        const started = start(client, call, answered);
        started.on("error", () => undefined); // the status says it
        started.on("data", (response) => print({ response }));
        started.on("status", (status) => resolve(status));
    });
}

const client = new Service(job.address, credentials(), job.options);
for (const call of job.calls) {
    const status = await make(client, call);
    print(endOf(status));
}
client.close();
