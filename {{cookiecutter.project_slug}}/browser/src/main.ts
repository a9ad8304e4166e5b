// What the page does: it ties forms to calls, and shows what comes of them.
import { failureOf } from "./failures";
import { keptStream, type State } from "./kept_stream";
import { Login, type LoggedIn } from "./login";
import { Calls, type Kept } from "./service";
import { readSettings } from "./settings";
import { transportWith } from "./transport";
import { byId, element, facts, showFailure } from "./view";

const SHOWN = 50; // the newest of a stream
const STATES: Record<State, string> = {
    open: "Watching",
    extended: "Watching, extended with a new token",
    waiting: "Cut off, trying again",
};

const account = byId("account", HTMLElement);
const logInButton = byId("log-in", HTMLButtonElement);
const logOutButton = byId("log-out", HTMLButtonElement);
const tenant = byId("tenant", HTMLInputElement);
const watchButton = byId("watch", HTMLButtonElement);
const stopButton = byId("stop", HTMLButtonElement);
const watchState = byId("watch-state", HTMLElement);
const changes = byId("changes", HTMLOListElement);

let login: Login | undefined;
let loggedIn: LoggedIn | undefined;
let watching: AbortController | undefined;

const transport = transportWith(() => loggedIn?.tokens.current() ?? Promise.resolve(undefined));
const calls = new Calls(transport);

function showAccount(): void {
    const isIn = (loggedIn?.tokens.endsAt ?? 0) > 0;
    const ended = loggedIn ? "Your login has ended." : "You are not logged in.";
    account.textContent = isIn ? `Logged in as ${loggedIn?.name ?? ""}` : ended;
    logInButton.hidden = isIn;
    logOutButton.hidden = !isIn;
}

function show(result: HTMLElement, kept: Kept | undefined): void {
    const shown = kept ? facts({ Id: kept.id, Title: kept.title, Tenant: kept.tenant }) : "Nothing came back.";
    result.replaceChildren(shown);
}

/** Has a form make a call, one at a time, and shows its result below it. */
function onSubmit(name: string, call: (value: string) => Promise<Kept | undefined>): void {
    const form = byId(name, HTMLFormElement);
    const value = byId(`${name}-value`, HTMLInputElement);
    const result = byId(`${name}-result`, HTMLElement);
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (result.ariaBusy === "true") {
            return;
        }
        result.ariaBusy = "true";
        call(value.value)
            .then((kept) => { show(result, kept); })
            .catch((error: unknown) => { showFailure(result, failureOf(error)); })
            .finally(() => { result.ariaBusy = "false"; });
    });
}

async function watch(): Promise<void> {
    watching?.abort();
    const own = new AbortController();
    watching = own;
    const watched = tenant.value;
    changes.replaceChildren();
    watchState.textContent = "Connecting";
    watchButton.hidden = true;
    stopButton.hidden = false;
    try {
        const tokens = loggedIn?.tokens;
        const stream = tokens
            ? keptStream({
                open: (after, options) => calls.watch(watched, after, options),
                position: (change) => change.sequence,
                transport,
                tokens,
                signal: own.signal,
                onState: (state) => { watchState.textContent = STATES[state]; },
            })
            : calls.watch(watched, 0n, { signal: own.signal });
        for await (const { kept, sequence } of stream) {
            changes.prepend(element("li", "", element("span", "number", String(sequence)), kept.title));
            changes.children[SHOWN]?.remove();
        }
        watchState.textContent = "Stopped";
    } catch (error) {
        if (!own.signal.aborted) {
            showFailure(watchState, failureOf(error));
        }
    } finally {
        if (watching === own) {
            const hadFocus = document.activeElement === stopButton;
            watchButton.hidden = false;
            stopButton.hidden = true;
            if (hadFocus) {
                watchButton.focus();
            }
        }
    }
}

function stop(): void {
    watching?.abort();
    watchState.textContent = "Stopped";
}

function tell(error: unknown): void {
    const notice = byId("notice", HTMLElement);
    notice.textContent = error instanceof Error ? error.message : String(error);
    notice.hidden = false;
}

async function start(): Promise<void> {
    login = await Login.at(await readSettings());
    logInButton.disabled = false;
    loggedIn = await login.finish();
    if (loggedIn) {
        tenant.value = loggedIn.tenant;
        loggedIn.tokens.onChange = showAccount;
    }
}

onSubmit("get", (id) => calls.get(tenant.value, id));
onSubmit("create", (title) => calls.create(tenant.value, title));
logInButton.addEventListener("click", () => { login?.begin().catch(tell); });
logOutButton.addEventListener("click", () => {
    stop();
    if (login && loggedIn) {
        login.end(loggedIn.tokens).catch(tell);
    }
});
watchButton.addEventListener("click", () => { void watch(); });
stopButton.addEventListener("click", stop);
start().catch(tell).finally(showAccount);
