// What is shown, as text alone: nothing that came from elsewhere is taken for markup.
import type { Failure } from "./failures";

/**
 * Returns an element of the page.
 * @throws Error there is none of that id and kind.
 */
export function byId<E extends HTMLElement>(id: string, kind: new () => E): E {
    const found = document.getElementById(id);
    if (!(found instanceof kind)) {
        throw new Error(`index.html has no ${kind.name} #${id}`);
    }
    return found;
}

export function element(name: keyof HTMLElementTagNameMap, className: string, ...content: (Node | string)[]): HTMLElement {
    const made = document.createElement(name);
    made.className = className;
    made.append(...content);
    return made;
}

/** Returns pairs of names and values, those left out that are empty. */
export function facts(pairs: Record<string, string>): HTMLElement {
    const filled = Object.entries(pairs).filter(([, value]) => value !== "");
    return element("dl", "facts", ...filled.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
}

/** Shows how a call failed. */
export function showFailure(into: HTMLElement, failure: Failure): void {
    const again = failure.retryAfterMs === undefined ? "" : `in ${String(Math.ceil(failure.retryAfterMs / 1000))} s`;
    const fields = failure.fields.map(({ field, description }) => `${field}: ${description}`);
    const shown = element(
        "div",
        "failure",
        element("strong", "code", failure.code),
        element("p", "", failure.message),
        facts({ Reason: failure.reason, "Try again": again, Fields: fields.join("; "), Call: failure.callId }),
    );
    if (failure.needsLogin) {
        shown.append(element("p", "", "Log in to go on."));
    }
    into.replaceChildren(shown);
}
