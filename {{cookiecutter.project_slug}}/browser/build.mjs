// Makes dist/ from src/: what the edge serves. Names of assets hold their digest, so that they may be cached for ever.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { build } from "esbuild";

const OUT = "dist";

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT);
const { metafile } = await build({
    entryPoints: ["src/main.ts", "src/style.css", "src/icon.svg"],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    loader: { ".svg": "copy" },
    entryNames: "[name]-[hash]",
    outdir: `${OUT}/assets`,
    metafile: true,
    legalComments: "none",
    logLevel: "warning",
});
let page = await readFile("src/index.html", "utf8");
for (const [made, { entryPoint, inputs }] of Object.entries(metafile.outputs)) {
    const name = basename(entryPoint ?? Object.keys(inputs)[0]);
    const asked = `/assets/${name.replace(/\.ts$/, ".js")}`;
    if (!page.includes(asked)) {
        throw new Error(`src/index.html names no ${asked}: nobody would ask for ${made}`);
    }
    page = page.replaceAll(asked, `/assets/${basename(made)}`);
}
await writeFile(`${OUT}/index.html`, page);
await copyFile("settings.json", `${OUT}/settings.json`);
