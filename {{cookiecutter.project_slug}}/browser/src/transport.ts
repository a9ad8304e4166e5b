// gRPC-Web to where the page came from; each call shows the token of now, and a proof where its method asks for one.
import { getOption } from "@bufbuild/protobuf";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { access } from "./gen/secure_rpc/v1/access_pb";

/**
 * Returns a transport.
 * @param token returns the token of now; undefined where nobody has logged in.
 */
export function transportWith(token: () => Promise<string | undefined>): Transport {
    const authorize: Interceptor = (next) => async (request) => {
        const shown = await token();
        if (shown !== undefined) {
            request.header.set("authorization", `Bearer ${shown}`);
        }
        return next(request);
    };
    return createGrpcWebTransport({ baseUrl: location.origin, interceptors: [authorize, prove] });
}

// a captured call cannot be made again: docs/replay.md
const prove: Interceptor = (next) => (request) => {
    if (getOption(request.method, access).replayProtected) {
        request.header.set("request-time", (Date.now() / 1000).toFixed(3));
        request.header.set("request-nonce", crypto.randomUUID());
    }
    return next(request);
};
