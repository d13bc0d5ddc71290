// Bundles the console into the folder that is named: one page, its styles, and scripts that load each other when needed.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { join } from "node:path";
import { build } from "esbuild";

const target = process.argv[2];
const made = await build({
  entryPoints: ["src/main.tsx"],
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  define: { "process.env.NODE_ENV": '"production"', "process.env.DEBUG": "undefined" },
  mainFields: ["browser", "module", "main"],
  conditions: ["browser"],
  legalComments: "none", // the licences are in a file of their own
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  outdir: target,
  metafile: true,
  logLevel: "warning",
});

const outputs = Object.entries(made.metafile.outputs);
const fileOf = (path) => path.split("/").at(-1);
const [mainPath, main] = outputs.find(([, output]) => output.entryPoint === "src/main.tsx");

/** The files that the page needs before it shows anything: the entry with what it imports at once, and the styles. */
function firstView() {
  const found = new Set([mainPath, main.cssBundle]);
  const wait = [main];
  while (wait.length > 0)
    for (const { path, kind } of wait.pop().imports)
      if (kind === "import-statement" && !found.has(path)) {
        found.add(path);
        wait.push(made.metafile.outputs[path]);
      }
  return [...found];
}

function folderOf(input) {
  const parts = input.slice(input.lastIndexOf("node_modules/") + "node_modules/".length).split("/");
  return input.slice(0, input.lastIndexOf("node_modules/")) + "node_modules/" + parts.slice(0, parts[0].startsWith("@") ? 2 : 1).join("/");
}

function licences() {
  const bundled = outputs.flatMap(([, output]) => Object.entries(output.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0));
  const folders = new Set(bundled.map(([input]) => input).filter((input) => input.includes("node_modules/")).map(folderOf));
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    return `${name} ${version} (${license})\n\n${file ? readFileSync(join(folder, file), "utf8").trim() : ""}\n`;
  }).join("\n" + "-".repeat(72) + "\n\n");
}

const first = firstView();
const preloads = first.filter((path) => path.endsWith(".js") && path !== mainPath);
const page = readFileSync("index.html", "utf8")
  .replace("{{styles}}", `console/${fileOf(main.cssBundle)}`)
  .replace("{{script}}", `console/${fileOf(mainPath)}`)
  .replace("{{preloads}}", preloads.map((path) => `<link rel="modulepreload" href="console/${fileOf(path)}">`).join("\n"));
writeFileSync(join(target, "index.html"), page);
writeFileSync(join(target, "licences.txt"), licences());
const bytes = first.reduce((sum, path) => sum + gzipSync(readFileSync(path), { level: 6 }).length, gzipSync(page).length);
writeFileSync(join(target, "first-view.json"), JSON.stringify({ gzip: bytes, files: first.map(fileOf) }));
