// The calls of this page: there is no rpc yet. All names of the service are here, and in index.html.
import type { CallOptions, Transport } from "@connectrpc/connect";

/** One of what the service keeps. */
export interface Kept {
    readonly id: string;
    readonly tenant: string;
    readonly title: string;
}

/** One that is there, or is new, and its number. */
export interface Change {
    readonly kept: Kept;
    readonly sequence: bigint;
}

export class Calls {
    // client = createClient(Service, transport), once there is something to call

    constructor(readonly transport: Transport) {}

    get(tenant: string, id: string): Promise<Kept | undefined> {
        return Promise.reject(new Error(`no rpc gets ${id} of ${tenant} yet`));
    }

    create(tenant: string, title: string): Promise<Kept | undefined> {
        return Promise.reject(new Error(`no rpc creates ${title} for ${tenant} yet`));
    }

    watch(tenant: string, after: bigint, options: CallOptions): AsyncGenerator<Change> {
        options.signal?.throwIfAborted();
        throw new Error(`no rpc watches ${tenant} after ${String(after)} yet`);
    }
}
