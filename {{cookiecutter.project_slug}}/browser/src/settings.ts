// Where to log in, and for whom the tokens are: what differs from one place to another. The edge serves it.

export interface Settings {
    /** The provider, a URL as it stands in its tokens. */
    readonly issuer: string;
    /** The page's name at the provider: a public client, without a secret. */
    readonly clientId: string;
    /** The service's name at the provider (RFC 8707); empty where it knows none. */
    readonly resource: string;
    /** What is asked for, separated by spaces; "openid" among it. */
    readonly scope: string;
}

const KEYS = ["issuer", "clientId", "resource", "scope"] as const;

/**
 * Returns the settings.
 * @throws Error a key is missing, or the file is.
 */
export async function readSettings(): Promise<Settings> {
    const response = await fetch("/settings.json", { cache: "no-store", credentials: "omit" });
    if (!response.ok) {
        throw new Error(`/settings.json: status ${String(response.status)}; have the edge serve it`);
    }
    const read = (await response.json()) as Record<string, unknown>;
    const missing = KEYS.filter((key) => typeof read[key] !== "string");
    if (missing.length > 0) {
        throw new Error(`/settings.json: ${missing.join(", ")} is missing; docs/browser.md lists all keys`);
    }
    return read as unknown as Settings;
}
