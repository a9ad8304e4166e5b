// A stream of the server that goes on: its session is extended with each new token, and where a call has ended, another
// begins after the last message that was seen. The same as docs/streams.md says of the client in Python.
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type CallOptions, type Transport } from "@connectrpc/connect";
import { failureOf } from "./failures";
import { SessionService } from "./gen/secure_rpc/v1/session_pb";
import { LoginEnded, type Tokens } from "./tokens";

const AHEAD = 0.2; // the share of its life that a session has left when it is extended, at the most
const REFRESH = { timeoutMs: 10_000 };
const ATTEMPTS = 20;
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 30_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
// what another attempt would not change
const FINAL = new Set([
    Code.PermissionDenied,
    Code.InvalidArgument,
    Code.NotFound,
    Code.AlreadyExists,
    Code.FailedPrecondition,
    Code.OutOfRange,
    Code.Unimplemented,
    Code.DataLoss,
]);

/** How a stream stands. */
export type State = "open" | "extended" | "waiting";

export interface Kept<M> {
    /** Begins a call after a number. */
    readonly open: (after: bigint, options: CallOptions) => AsyncIterable<M>;
    /** Returns the number of a message; each is one more than the one before. */
    readonly position: (message: M) => bigint;
    readonly transport: Transport;
    readonly tokens: Tokens;
    /** Ends it. */
    readonly signal: AbortSignal;
    readonly onState: (state: State) => void;
}

/**
 * Gives out each message once, in order, until it is ended from here.
 * @throws ConnectError no further attempt would help.
 */
export async function* keptStream<M>(kept: Kept<M>): AsyncGenerator<M> {
    let after = 0n;
    let attempts = 0;
    while (!kept.signal.aborted) {
        const call = new AbortController();
        const signal = AbortSignal.any([kept.signal, call.signal]);
        try {
            const onHeader = (headers: Headers) => {
                kept.onState("open");
                void keepSession(kept, headers, call, signal);
            };
            for await (const message of kept.open(after, { signal, onHeader })) {
                attempts = 0;
                const position = kept.position(message);
                if (position !== after + 1n) {
                    const gap = `${String(position)} came after ${String(after)}`;
                    throw new ConnectError(`messages are missing: ${gap}`, Code.DataLoss);
                }
                after = position;
                yield message;
            }
            return; // the server has no more
        } catch (error) {
            if (!signal.aborted) {
                attempts += 1;
                await beforeAnother(kept, error, attempts);
            } // else it was ended from here, or given up for another that shows a new token
        } finally {
            call.abort();
        }
    }
}

/** Waits before a call is begun again, or throws the error where that would not help. */
async function beforeAnother<M>(kept: Kept<M>, error: unknown, attempts: number): Promise<void> {
    const { code } = ConnectError.from(error);
    const { reason, retryAfterMs } = failureOf(error);
    // an edge that looks at tokens itself refuses them without a reason
    const isLate = reason === "" && Date.now() >= kept.tokens.endsAt;
    const isExpired = code === Code.Unauthenticated && (reason === "TOKEN_EXPIRED" || isLate);
    if (FINAL.has(code) || (code === Code.Unauthenticated && !isExpired) || attempts > ATTEMPTS) {
        throw error;
    }
    kept.onState("waiting");
    const wait = Math.random() * Math.min(FIRST_WAIT_MS * 2 ** (attempts - 1), LONGEST_WAIT_MS);
    await sleep(Math.max(wait, retryAfterMs ?? 0), kept.signal);
    if (isExpired) {
        try {
            await kept.tokens.next();
        } catch (ended) {
            if (ended instanceof LoginEnded) {
                throw ended;
            } // else the provider cannot be asked now; the next attempt asks again
        }
    }
}

/** Extends a session over and over, ahead of its end; gives the call up where that is refused. */
async function keepSession<M>(
    kept: Kept<M>,
    headers: Headers,
    call: AbortController,
    signal: AbortSignal,
): Promise<void> {
    const sessionId = headers.get("session-id") ?? "";
    let expiresAtMs = Number(headers.get("session-expires-at") ?? Infinity) * 1000;
    while (Number.isFinite(expiresAtMs) && Date.now() < expiresAtMs) {
        const leftMs = expiresAtMs - Date.now();
        await sleep(leftMs * (1 - AHEAD * (1 - 0.5 * Math.random())), signal); // not all streams at once
        if (signal.aborted) {
            return;
        }
        try {
            await withNewToken(kept.tokens, expiresAtMs);
            if (sessionId === "") {
                call.abort(); // nothing extends it
                return;
            }
            const answer = await createClient(SessionService, kept.transport).refresh({ sessionId }, REFRESH);
            const extendedMs = answer.expiresAt ? timestampMs(answer.expiresAt) : 0;
            if (extendedMs <= expiresAtMs) {
                continue; // tried again, when the same share of what is left is left
            }
            expiresAtMs = extendedMs;
            kept.onState("extended");
        } catch (error) {
            if (FINAL.has(ConnectError.from(error).code)) {
                call.abort();
                return;
            } // else not now: tried again in the same way
        }
    }
}

/** Sees to it that the token of now lasts longer than a session that was begun with it, or with one before. */
async function withNewToken(tokens: Tokens, expiresAtMs: number): Promise<void> {
    if (tokens.endsAt <= expiresAtMs) {
        await tokens.next();
    }
}

/** Waits, or until it is given up. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
        const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER_MS));
        signal.addEventListener("abort", () => {
            clearTimeout(timer);
            resolve();
        }, { once: true });
    });
}
