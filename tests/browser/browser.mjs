// Drives a browser: reads jobs as JSON lines, answers each by one. Its argument is JSON: the browser's program, a folder
// for its files, and the digests of the keys that it is to trust though no CA of its own vouches for them.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const job = JSON.parse(process.argv[2]);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const context = await chromium.launchPersistentContext(job.folder, {
    executablePath: job.program,
    viewport: { width: 1100, height: 860 },
    args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        `--ignore-certificate-errors-spki-list=${job.keys.join(",")}`,
    ],
});
const [page] = context.pages();
page.setDefaultTimeout(job.seconds * 1000);
let complaints = [];
const urls = [];
page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) {
        complaints.push(message.text());
    }
});
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("request", (request) => urls.push(request.url()));
await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.effectiveDirective} ${event.blockedURI}`);
    });
});

const jobs = {
    open: ({ url }) => page.goto(url).then(() => null),
    fill: ({ label, text }) => page.getByLabel(label, { exact: true }).fill(text),
    click: ({ name }) => page.getByRole("button", { name, exact: true }).click(),
    press: ({ key }) => page.keyboard.press(key),
    focused: () => page.evaluate(() => document.activeElement.id),
    texts: ({ selector }) => page.locator(selector).allInnerTexts(),
    shows: ({ selector, text }) => page.locator(selector).filter({ hasText: text }).first().waitFor(),
    // what a script of somebody else could read
    kept: () =>
        page.evaluate(async () => ({
            local: { ...localStorage },
            session: { ...sessionStorage },
            databases: (await indexedDB.databases()).map(({ name }) => name),
            cookies: document.cookie,
            url: location.href,
            state: history.state,
        })),
    urls: () => urls,
    complaints: () => {
        const told = complaints;
        complaints = [];
        return told;
    },
    // a script in the page's own markup, and an address that nobody allows
    attack: () =>
        page.evaluate(async () => {
            const script = document.createElement("script");
            const attempts = [
                () => { script.textContent = "globalThis.taken = true"; document.body.append(script); },
                () => { document.body.innerHTML = "<img src=x>"; },
                () => fetch("https://localhost:1/"),
            ];
            const ended = [];
            for (const attempt of attempts) {
                ended.push(await Promise.resolve().then(attempt).then(() => "passed", () => "refused"));
            }
            return [...ended, globalThis.taken ?? false];
        }),
    axe: async ({ scheme }) => {
        await page.emulateMedia({ colorScheme: scheme });
        await page.evaluate(AXE);
        const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
        const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, any }) => [id, target, any[0]?.message]));
        return { violations: found, passes: passes.map(({ id }) => id) };
    },
    size: ({ width, height }) => page.setViewportSize({ width, height }),
    overflows: () => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth),
    screenshot: ({ file, scheme }) => page.emulateMedia({ colorScheme: scheme }).then(() => page.screenshot({ path: file })).then(() => null),
};

for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...given } = JSON.parse(line);
    let answer;
    try {
        answer = { value: (await jobs[name](given)) ?? null };
    } catch (error) {
        answer = { error: `${error.message}\n${await page.locator("body").innerText().catch(String)}` };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await context.close();
