// A certified OpenID provider on loopback, for development alone: whoever asks is let in as whom they choose, one of
// config/dev_callers.yaml. Its access tokens are those of the development issuer, by name and key, as `token new` makes
// them: the service takes them as it stands. Logins are in memory, and gone after a start.
import { createPrivateKey, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import { parseArgs } from "node:util";
import Provider from "oidc-provider";
import { parse } from "yaml";

console.info = console.warn = console.error; // standard output is for who started this

const { values: options } = parseArgs({
    options: {
        page: { type: "string", multiple: true, default: ["https://localhost:8443", "https://127.0.0.1:8443"] }, // its origin
        seconds: { type: "string", default: "300" }, // how long an access token lasts
        settings: { type: "string", default: "browser/settings.json" }, // of the page: issuer, client, resource
        callers: { type: "string", default: "config/dev_callers.yaml" }, // who there is
        config: { type: "string", default: "config/dev.yaml" }, // of the service: its first issuer is played
        files: { type: "string", default: ".dev" }, // what make setup has made
    },
});
const settings = JSON.parse(readFileSync(options.settings, "utf8"));
const { callers } = parse(readFileSync(options.callers, "utf8"));
const [{ issuer, audiences }] = parse(readFileSync(options.config, "utf8")).authentication.issuers;
const HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
};

function callerOf(subject) {
    return Object.values(callers).find((caller) => caller.subject === subject);
}

function file(name) {
    return readFileSync(`${options.files}/${name}`, "utf8");
}

function issuerKey() {
    const [{ kid, alg }] = JSON.parse(file("jwks.json")).keys;
    return { ...createPrivateKey(file("issuer.key")).export({ format: "jwk" }), kid, alg, use: "sig" };
}

function findAccount(_context, subject) {
    const caller = callerOf(subject);
    return caller && { accountId: subject, claims: () => ({ sub: subject, name: subject, tenant: caller.tenants }) };
}

function accessToken(_context, _token, { payload }) {
    payload.iss = issuer;
}

function tokenClaims(_context, token) {
    const caller = callerOf(token.accountId);
    return { tenant: caller.tenants, groups: caller.groups };
}

// nobody is asked whether the page may: it is ours
async function grantAll({ oidc }) {
    const { client, session } = oidc;
    const known = session.grantIdFor(client.clientId);
    const grant = (known && (await oidc.provider.Grant.find(known)))
        || new oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(settings.scope);
    await grant.save();
    return grant;
}

function resourceServer(_context, resource) {
    if (resource !== settings.resource) {
        throw new Error(`${resource}: no such resource; there is ${settings.resource}`);
    }
    return {
        scope: "",
        audience: audiences[0],
        accessTokenFormat: "jwt",
        accessTokenTTL: Number(options.seconds),
        jwt: { sign: { alg: "ES256" } },
    };
}

const provider = new Provider(settings.issuer, {
    jwks: { keys: [issuerKey()] },
    cookies: { keys: [randomBytes(32).toString("hex")] },
    clients: [
        {
            client_id: settings.clientId,
            token_endpoint_auth_method: "none",
            grant_types: ["authorization_code", "refresh_token"],
            redirect_uris: options.page.map((page) => `${page}/`),
            post_logout_redirect_uris: options.page.map((page) => `${page}/`),
            id_token_signed_response_alg: "ES256",
        },
    ],
    clientBasedCORS: (_context, origin) => options.page.includes(origin),
    claims: { openid: ["sub", "name", "tenant"] },
    conformIdTokenClaims: false,
    extraTokenClaims: tokenClaims,
    findAccount,
    formats: { customizers: { jwt: accessToken } },
    interactions: { url: (_context, interaction) => `/login/${interaction.uid}` },
    issueRefreshToken: () => true,
    rotateRefreshToken: true, // one that is used twice ends all that came of the login (RFC 9700, section 2.2.2)
    loadExistingGrant: grantAll,
    pkce: { required: () => true },
    ttl: { AccessToken: Number(options.seconds), IdToken: 300, Interaction: 600, Grant: 86400, RefreshToken: 28800, Session: 28800 },
    features: {
        devInteractions: { enabled: false },
        revocation: { enabled: true },
        resourceIndicators: { enabled: true, defaultResource: () => settings.resource, getResourceServerInfo: resourceServer },
    },
});

function loginPage() {
    const buttons = Object.entries(callers).map(
        ([name, { tenants, groups }]) =>
            `<p><button name="as" value="${name}">${name}</button> ${groups.join(", ")} of ${tenants.join(", ")}</p>`,
    );
    return `<!doctype html><html lang="en"><title>Log in</title><meta name="color-scheme" content="light dark">
<main><h1>Log in</h1><p>For development: choose who you are.</p><form method="post">${buttons.join("")}</form></main></html>`;
}

async function logIn(request, response) {
    await provider.interactionDetails(request, response); // throws where nobody asked for a login
    if (request.method !== "POST") {
        response.writeHead(200, HEADERS).end(loginPage());
        return;
    }
    const body = Buffer.concat(await request.toArray()).toString();
    const caller = callers[new URLSearchParams(body).get("as")];
    if (!caller) {
        response.writeHead(400, HEADERS).end("there is nobody of that name");
        return;
    }
    await provider.interactionFinished(request, response, { login: { accountId: caller.subject } });
}

const answer = provider.callback();
const tls = { minVersion: "TLSv1.3", cert: file("server.pem"), key: file("server.key") };
const server = https.createServer(tls, (request, response) => {
    if (!request.url.startsWith("/login/")) {
        answer(request, response);
        return;
    }
    logIn(request, response).catch((error) => {
        console.error(error);
        response.writeHead(400, HEADERS).end("this login has ended, or was never begun");
    });
});
server.listen(Number(new URL(settings.issuer).port), "127.0.0.1", () => {
    process.stdout.write(`${JSON.stringify({ issuer: settings.issuer })}\n`);
});
