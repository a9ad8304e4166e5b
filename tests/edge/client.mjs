// Calls by gRPC-Web, as a page does. Its argument is JSON: url, image (a descriptor set) and service. Reads jobs as JSON
// lines: method, request, headers, timeout_ms and messages (after how many a stream is left; 0: at its end); prints, for
// each, how it ended, by one line. The certificate of the edge is checked: NODE_EXTRA_CA_CERTS says by which CA.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { createFileRegistry, fromBinary, fromJson, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const given = JSON.parse(process.argv[2]);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(given.image)));
const service = registry.getService(given.service);
const client = createClient(service, createGrpcWebTransport({ baseUrl: given.url }));

async function call({ method: name, request, headers, timeout_ms: timeoutMs, messages }) {
    const method = service.methods.find((each) => each.name === name);
    const leave = new AbortController();
    const told = { code: "OK", message: "", headers: {}, responses: [] };
    const take = (from) => Object.assign(told.headers, Object.fromEntries(from));
    const options = { headers, timeoutMs: timeoutMs || undefined, onHeader: take, onTrailer: take, signal: leave.signal };
    const asked = fromJson(method.input, request, { registry });
    const json = (response) => toJson(method.output, response, { registry });
    try {
        const ended = client[method.localName](asked, options);
        if (method.methodKind === "unary") {
            told.responses.push(json(await ended));
            return told;
        }
        for await (const response of ended) {
            told.responses.push(json(response));
            if (told.responses.length === messages) {
                leave.abort();
                break;
            }
        }
    } catch (error) {
        const failed = ConnectError.from(error);
        told.code = Code[failed.code].replace(/(?!^)[A-Z]/g, "_$&").toUpperCase();
        told.message = failed.rawMessage;
        take(failed.metadata);
    }
    return told;
}

for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await call(JSON.parse(line)))}\n`);
}
