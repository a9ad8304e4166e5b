// Logging in at an OpenID provider: authorization code with PKCE, as RFC 9700 has it for clients without a secret.
import * as oauth from "oauth4webapi";
import type { Settings } from "./settings";
import { LoginEnded, Tokens, type Granted } from "./tokens";

// what has to outlive the way to the provider and back; no token, and gone on return
const STARTED = "login";

interface Started {
    readonly state: string;
    readonly nonce: string;
    readonly verifier: string;
}

/** Who has logged in, as the ID token says, and the tokens to call with. */
export interface LoggedIn {
    readonly name: string;
    /** The first tenant that the ID token names; empty where it names none. */
    readonly tenant: string;
    readonly tokens: Tokens;
}

export class Login {
    private readonly client: oauth.Client;

    private constructor(
        private readonly settings: Settings,
        private readonly server: oauth.AuthorizationServer,
    ) {
        this.client = { client_id: settings.clientId };
    }

    /** Asks the provider where its endpoints are (OpenID Connect Discovery). */
    static async at(settings: Settings): Promise<Login> {
        const issuer = new URL(settings.issuer);
        const response = await oauth.discoveryRequest(issuer).catch((error: unknown) => {
            throw new Error(`${settings.issuer} cannot be reached: no login is possible`, { cause: error });
        });
        return new Login(settings, await oauth.processDiscoveryResponse(issuer, response));
    }

    /** Leaves the page for the provider. */
    async begin(): Promise<void> {
        const started: Started = {
            state: oauth.generateRandomState(),
            nonce: oauth.generateRandomNonce(),
            verifier: oauth.generateRandomCodeVerifier(),
        };
        sessionStorage.setItem(STARTED, JSON.stringify(started));
        const url = endpoint(this.server, "authorization_endpoint");
        const asked = {
            client_id: this.settings.clientId,
            response_type: "code",
            redirect_uri: redirectUri(),
            scope: this.settings.scope,
            ...this.resource,
            state: started.state,
            nonce: started.nonce,
            code_challenge: await oauth.calculatePKCECodeChallenge(started.verifier),
            code_challenge_method: "S256",
        };
        for (const [key, value] of Object.entries(asked)) {
            url.searchParams.set(key, value);
        }
        location.assign(url);
    }

    /**
     * Takes what the provider sent back along in the address, and clears it from there.
     * @returns undefined where nobody comes from the provider.
     * @throws Error it is not the answer to what this page asked, or a refusal.
     */
    async finish(): Promise<LoggedIn | undefined> {
        const given = new URL(location.href);
        if (!given.searchParams.has("code") && !given.searchParams.has("error")) {
            return undefined;
        }
        history.replaceState(null, "", "/");
        const kept = sessionStorage.getItem(STARTED);
        sessionStorage.removeItem(STARTED);
        if (kept === null) {
            throw new Error("this page has not asked for a login; log in once more");
        }
        const started = JSON.parse(kept) as Started;
        const parameters = oauth.validateAuthResponse(this.server, this.client, given, started.state);
        const response = await oauth.authorizationCodeGrantRequest(
            this.server,
            this.client,
            oauth.None(),
            parameters,
            redirectUri(),
            started.verifier,
            { additionalParameters: this.resource },
        );
        const granted = await oauth.processAuthorizationCodeResponse(this.server, this.client, response, {
            expectedNonce: started.nonce,
            requireIdToken: true,
        });
        const claims = oauth.getValidatedIdTokenClaims(granted);
        const [tenant] = [claims?.["tenant"]].flat();
        return {
            name: textOf(claims?.["name"]) || textOf(claims?.sub),
            tenant: textOf(tenant),
            tokens: new Tokens(of(granted), (refreshToken) => this.renew(refreshToken)),
        };
    }

    /** Has the provider forget the refresh token (RFC 7009), and leaves for its logout, where it has one. */
    async end(tokens: Tokens): Promise<void> {
        const refreshToken = tokens.forget();
        if (refreshToken && this.server.revocation_endpoint) {
            await oauth.revocationRequest(this.server, this.client, oauth.None(), refreshToken);
        }
        if (this.server.end_session_endpoint) {
            const url = endpoint(this.server, "end_session_endpoint");
            url.searchParams.set("client_id", this.settings.clientId);
            url.searchParams.set("post_logout_redirect_uri", redirectUri());
            location.assign(url);
        }
    }

    private async renew(refreshToken: string): Promise<Granted> {
        const response = await oauth.refreshTokenGrantRequest(this.server, this.client, oauth.None(), refreshToken, {
            additionalParameters: this.resource,
        });
        try {
            return of(await oauth.processRefreshTokenResponse(this.server, this.client, response));
        } catch (error) {
            throw error instanceof oauth.ResponseBodyError ? new LoginEnded(error.error) : error;
        }
    }

    private get resource(): Record<string, string> {
        return this.settings.resource ? { resource: this.settings.resource } : {};
    }
}

function of(granted: oauth.TokenEndpointResponse): Granted {
    return {
        accessToken: granted.access_token,
        refreshToken: granted.refresh_token,
        seconds: granted.expires_in,
    };
}

function endpoint(server: oauth.AuthorizationServer, name: "authorization_endpoint" | "end_session_endpoint"): URL {
    const url = server[name];
    if (url === undefined) {
        throw new Error(`${server.issuer} names no ${name}`);
    }
    return new URL(url);
}

function textOf(claim: unknown): string {
    return typeof claim === "string" ? claim : "";
}

function redirectUri(): string {
    return `${location.origin}/`;
}
