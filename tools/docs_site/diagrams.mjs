// Draws diagrams: its argument is JSON with the browser's program, a folder for its files, the script of mermaid, and a list
// of diagrams, each with its text, theme, ground and file. Answers with a JSON list: null for a diagram that was drawn, or what is
// wrong with it.
import { readFile, writeFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const job = JSON.parse(await readFile(process.argv[2], "utf8"));
const browser = await chromium.launch({
    executablePath: job.program,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const page = await browser.newPage();
await page.setContent("<!doctype html><title>diagrams</title><body></body>");
await page.addScriptTag({ path: new URL("node_modules/mermaid/dist/mermaid.min.js", import.meta.url).pathname });

const answers = [];
for (const [number, { text, theme, ground, file }] of job.diagrams.entries()) {
    const drawn = await page.evaluate(
        async ([id, source, name, colour]) => {
            globalThis.mermaid.initialize({
                startOnLoad: false,
                securityLevel: "strict",
                theme: name,
                themeCSS: `.edgeLabel rect, .edgeLabel .background { opacity: 1 !important; fill: ${colour} !important; }`,
                htmlLabels: false, // labels that any reader of SVG can show
                flowchart: { htmlLabels: false, useMaxWidth: false },
                sequence: { useMaxWidth: false },
                state: { useMaxWidth: false },
                fontFamily: "Helvetica, Arial, sans-serif",
                deterministicIds: true,
                deterministicIDSeed: id,
            });
            try {
                const { svg } = await globalThis.mermaid.render(id, source);
                const parsed = new DOMParser().parseFromString(svg, "text/html").querySelector("svg");
                return { svg: new XMLSerializer().serializeToString(parsed) };
            } catch (error) {
                return { error: String(error.message ?? error) };
            }
        },
        [`diagram-${number}`, text, theme, ground],
    );
    if (drawn.svg) {
        await writeFile(file, `${drawn.svg}\n`);
    }
    answers.push(drawn.error ?? null);
}
await browser.close();
process.stdout.write(JSON.stringify(answers));
