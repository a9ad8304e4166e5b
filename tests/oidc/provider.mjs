// A certified OpenID provider on loopback, over HTTPS. Its argument is JSON: port (0: any), certificate, key and ca, PEM
// files. Prints {"port": ...} once it listens. Below /test/ are hooks: what a test has the provider do, or asks of it.
import { readFileSync } from "node:fs";
import https from "node:https";
import * as jose from "jose";
import Provider from "oidc-provider";

console.info = console.warn = console.error; // standard output is for who started this

const job = JSON.parse(process.argv[2]);
const ALGORITHMS = ["RS256", "ES256"];
const LIFETIME_SECONDS = 300;
const LARGE_BYTES = 1_100_000;
const DRIP_MS = 50;

// what each client's tokens say of it; a secret with characters that mean something in a form or before a colon
const CLIENTS = {
    orders: { client_secret: "s3cret:+/%2B=&", says: { org: { tenants: ["acme"] } } },
    clerk: { client_secret: "clerk", says: { org: { tenants: "acme" }, realm_access: { roles: ["clerks", "staff"] } } },
    alice: { client_secret: "alice", says: { org: { tenants: ["acme"] }, groups: ["admins"] } },
    gateway: { client_secret: "gateway" },
    checker: { client_secret: "checker+checker" },
    bound: {
        token_endpoint_auth_method: "tls_client_auth",
        tls_client_auth_san_uri: "spiffe://example.org/client/developer",
        tls_client_certificate_bound_access_tokens: true,
        says: { org: { tenants: ["acme"] } },
    },
};

let generation = 0;
let keys = []; // newest first: the provider signs with the first of its kind
let issuer;
let provider;
let delayMs = 0;
const requests = {}; // milliseconds of each, by path

async function generate() {
    generation += 1;
    return Promise.all(
        ALGORITHMS.map(async (alg) => {
            const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
            return { ...(await jose.exportJWK(privateKey)), kid: `${alg}-${generation}`, use: "sig", alg };
        }),
    );
}

// a resource is "urn:<audience>:<RS256, ES256 or opaque>"
function resourceServer(_context, resource) {
    const [, audience, kind] = resource.split(":");
    const format = kind === "opaque" ? { accessTokenFormat: kind } : { accessTokenFormat: "jwt", jwt: { sign: { alg: kind } } };
    return { scope: "orders", audience, accessTokenTTL: LIFETIME_SECONDS, ...format };
}

function certificateOf(context) {
    return context.req.socket.getPeerX509Certificate?.();
}

function build() {
    provider = new Provider(issuer, {
        jwks: { keys },
        clients: Object.entries(CLIENTS).map(([client_id, { says: _, ...client }]) => ({
            client_id,
            grant_types: ["client_credentials"],
            redirect_uris: [],
            response_types: [],
            ...client,
        })),
        clientAuthMethods: ["client_secret_basic", "tls_client_auth"],
        extraTokenClaims: (_context, token) => CLIENTS[token.clientId].says,
        features: {
            clientCredentials: { enabled: true },
            devInteractions: { enabled: false },
            introspection: { enabled: true },
            revocation: { enabled: true },
            mTLS: {
                enabled: true,
                certificateBoundAccessTokens: true,
                tlsClientAuth: true,
                getCertificate: (context) => certificateOf(context)?.toString(),
                certificateAuthorized: (context) => context.req.socket.authorized,
                certificateSubjectMatches: (context, property, expected) =>
                    property === "tls_client_auth_san_uri" &&
                    certificateOf(context).subjectAltName.split(", ").includes(`URI:${expected}`),
            },
            resourceIndicators: {
                enabled: true,
                defaultResource: () => "urn:order-service:RS256",
                useGrantedResource: () => true,
                getResourceServerInfo: resourceServer,
            },
        },
    }).callback();
}

async function sign({ claims, header }) {
    const [key] = keys;
    return new jose.SignJWT(claims)
        .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: "at+jwt", ...header })
        .setIssuedAt()
        .setExpirationTime(claims.exp ?? `${LIFETIME_SECONDS}s`)
        .sign(await jose.importJWK(key));
}

function publicKeys() {
    return keys.map(({ d, p, q, dp, dq, qi, ...key }) => key);
}

function redirect(response, path) {
    response.writeHead(307, { location: `${issuer}${path}` }).end();
}

function drip(response) {
    const text = JSON.stringify({ keys: publicKeys() });
    let sent = 0;
    const timer = setInterval(() => (sent < text.length ? response.write(text[sent++]) : response.end()), DRIP_MS);
    response.on("close", () => clearInterval(timer));
}

const hooks = {
    rotate: async () => {
        keys = [...(await generate()), ...keys];
        build();
    },
    retire: () => {
        keys = keys.slice(0, -ALGORITHMS.length);
        build();
    },
    delay: (given) => void (delayMs = given),
    requests: () => requests,
    sign,
    "redirected-keys": (_, response) => redirect(response, "/jwks"),
    "redirected-token": (_, response) => redirect(response, "/token"),
    "large-keys": (_, response) => response.end(JSON.stringify({ keys: publicKeys(), more: "x".repeat(LARGE_BYTES) })),
    "dripping-keys": (_, response) => drip(response),
};

async function bodyOf(request) {
    const parts = await request.toArray();
    return Buffer.concat(parts).toString();
}

async function answer(request, response) {
    const [path] = request.url.split("?");
    (requests[path] ??= []).push(performance.now());
    if (!path.startsWith("/test/")) {
        const wait = path === "/token/introspection" ? delayMs : 0;
        setTimeout(() => provider(request, response), wait);
        return;
    }
    const text = await bodyOf(request);
    const given = request.headers["content-type"] === "application/json" ? JSON.parse(text) : undefined;
    const answered = await hooks[path.slice("/test/".length)](given, response);
    if (given !== undefined) {
        response.end(JSON.stringify(answered ?? null));
    }
}

const tls = { key: readFileSync(job.key), cert: readFileSync(job.certificate), ca: readFileSync(job.ca) };
const server = https.createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, answer);
keys = await generate(); // before anybody can ask
server.listen(job.port, "127.0.0.1", () => {
    const { port } = server.address();
    issuer = `https://localhost:${port}`;
    build();
    process.stdout.write(`${JSON.stringify({ port })}\n`);
});
