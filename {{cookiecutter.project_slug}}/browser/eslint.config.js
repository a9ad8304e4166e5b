import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
    { ignores: ["dist/", "src/gen/"] },
    js.configs.recommended,
    {
        files: ["src/**/*.ts"],
        extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
        languageOptions: { parserOptions: { projectService: true } },
        rules: {
            // what the browser would run or take for markup; the page's policy forbids it too
            "no-restricted-properties": [
                "error",
                ...["innerHTML", "outerHTML", "insertAdjacentHTML", "write"].map((property) => ({ property })),
            ],
            // a token there would outlive the page
            "no-restricted-globals": ["error", "localStorage", "indexedDB"],
        },
    },
    {
        files: ["*.js", "*.mjs", "dev/*.mjs"],
        languageOptions: {
            globals: Object.fromEntries(["Buffer", "URL", "URLSearchParams", "console", "process"].map((name) => [name, "readonly"])),
        },
    },
);
