// The calls of this page. All names of the service are here, and in index.html.
import { createClient, type CallOptions, type Transport } from "@connectrpc/connect";
import { {{ cookiecutter.resource_name }}Service as Service } from "./gen/{{ cookiecutter.package_name }}/v1/{{ cookiecutter.__resource_file }}_pb";

const UNARY = { timeoutMs: 10_000 };

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
    private readonly client;

    constructor(transport: Transport) {
        this.client = createClient(Service, transport);
    }

    async get(tenant: string, id: string): Promise<Kept | undefined> {
        const answer = await this.client.get{{ cookiecutter.resource_name }}({ tenant, id }, UNARY);
        return answer.{{ cookiecutter.__resource_json }};
    }

    async create(tenant: string, title: string): Promise<Kept | undefined> {
        const answer = await this.client.create{{ cookiecutter.resource_name }}({ tenant, title }, UNARY);
        return answer.{{ cookiecutter.__resource_json }};
    }

    /** Streams what comes after a number, without an end. */
    async *watch(tenant: string, after: bigint, options: CallOptions): AsyncGenerator<Change> {
        for await (const answer of this.client.watch{{ cookiecutter.resource_plural }}({ tenant, after }, options)) {
            if (answer.{{ cookiecutter.__resource_json }}) {
                yield { kept: answer.{{ cookiecutter.__resource_json }}, sequence: answer.sequence };
            }
        }
    }
}
