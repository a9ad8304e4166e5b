// What a failed call says: its code, and the details of google/rpc/error_details.proto that the service sends along.
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb";
import { LoginEnded } from "./tokens";

export interface Failure {
    /** As gRPC writes it: PERMISSION_DENIED. */
    readonly code: string;
    /** The stable name of the cause, of ErrorInfo; empty where there is none. */
    readonly reason: string;
    readonly message: string;
    /** When to come again, of RetryInfo. */
    readonly retryAfterMs: number | undefined;
    /** By which the service's log and audit know the call; empty where it has none. */
    readonly callId: string;
    /** What is wrong with which field, of BadRequest. */
    readonly fields: readonly { readonly field: string; readonly description: string }[];
    /** Whether logging in again would help. */
    readonly needsLogin: boolean;
}

/** Returns what there is to show of an error. */
export function failureOf(error: unknown): Failure {
    if (error instanceof LoginEnded) {
        const said = { reason: "LOGIN_ENDED", message: error.message, callId: "" };
        return { code: "UNAUTHENTICATED", ...said, retryAfterMs: undefined, fields: [], needsLogin: true };
    }
    const said = isUnreached(error) ? new ConnectError("the service cannot be reached", Code.Unavailable) : ConnectError.from(error);
    const [info] = said.findDetails(ErrorInfoSchema);
    const [retry] = said.findDetails(RetryInfoSchema);
    const [request] = said.findDetails(BadRequestSchema);
    return {
        code: nameOf(said.code),
        reason: info?.reason ?? "",
        message: said.rawMessage,
        retryAfterMs: retry?.retryDelay && durationMs(retry.retryDelay),
        callId: said.metadata.get("correlation-id") ?? "",
        fields: request?.fieldViolations ?? [],
        needsLogin: said.code === Code.Unauthenticated,
    };
}

/** Tells whether there was no answer at all: all that fetch says then is TypeError. */
function isUnreached(error: unknown): boolean {
    return error instanceof ConnectError && error.code === Code.Unknown && error.cause instanceof TypeError;
}

/** Returns a code as gRPC writes it. */
function nameOf(code: Code): string {
    return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
