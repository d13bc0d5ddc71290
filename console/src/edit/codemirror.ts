/**
 * The editor of everything that is written in JSON or in the shell's syntax; in a chunk of its own. It stands in a shadow
 * root, where its styles are style sheets of the program and no elements, which the page's policy would refuse.
 */

import { autocompletion, closeBrackets, closeBracketsKeymap, type Completion, type CompletionContext, completionKeymap, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { javascriptLanguage } from "@codemirror/lang-javascript";
import { jsonLanguage } from "@codemirror/lang-json";
import { bracketMatching, foldGutter, foldKeymap, HighlightStyle, indentOnInput, indentUnit, LanguageSupport, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Annotation, EditorState, type Extension, Prec } from "@codemirror/state";
import { drawSelection, EditorView, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { getFilteredCompletions } from "@mongodb-js/mongodb-constants";

export type Language = "query" | "pipeline" | "stage" | "document";

export interface Options {
  readonly label: string;
  readonly value: string;
  /** One line, in which Enter submits. */
  readonly single: boolean;
  readonly language: Language;
  readonly placeholder: string;
  readonly readOnly: boolean;
  readonly fields: () => readonly string[];
  readonly onChange: (text: string) => void;
  readonly onSubmit: () => void;
}

export interface Editor {
  readonly set: (text: string) => void;
  readonly focus: () => void;
  /** Show what is wrong where it is; null takes it away. */
  readonly fail: (error: { message: string; from: number; to: number } | null) => void;
  readonly destroy: () => void;
}

/** Marks a change that the page made, and knows of. */
const OUTSIDE = Annotation.define<true>();

const COLOURS = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--v-key)" },
  { tag: tags.string, color: "var(--v-string)" },
  { tag: tags.number, color: "var(--v-number)" },
  { tag: [tags.bool, tags.null, tags.keyword], color: "var(--v-bool)" },
  { tag: tags.regexp, color: "var(--v-other)" },
  { tag: [tags.function(tags.variableName), tags.className], color: "var(--v-id)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
]);

const THEME = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "transparent", fontSize: "13px", height: "100%" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5" },
  ".cm-content": { caretColor: "var(--ink)", padding: "4px 0" },
  ".cm-line": { padding: "0 9px" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "var(--tint)" },
  ".cm-gutters": { backgroundColor: "var(--code)", color: "var(--muted)", border: "none", borderRight: "1px solid var(--line)" },
  ".cm-placeholder": { color: "var(--faint)" },
  ".cm-matchingBracket": { backgroundColor: "var(--tint)", outline: "1px solid var(--line-strong)" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", border: "1px solid var(--line)", borderRadius: "6px", boxShadow: "var(--shadow)" },
  ".cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", maxHeight: "16em" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { background: "var(--tint)", color: "var(--accent)" },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal", marginLeft: "1em" },
  ".cm-completionInfo": { maxWidth: "320px", fontFamily: "var(--sans)", padding: "6px 10px" },
  ".cm-diagnostic": { padding: "4px 10px", color: "var(--bad)", borderLeft: "3px solid var(--bad)" },
  ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--ink)" },
});

const META = {
  query: ["query", "bson"],
  document: ["bson"],
  stage: ["stage", "expr:*", "accumulator", "accumulator:bottom-n", "query", "bson", "variable:system"],
  pipeline: ["stage", "expr:*", "accumulator", "query", "bson", "variable:system"],
} as const;

const SNIPPETS: readonly Completion[] = ["ObjectId", "ISODate", "NumberLong", "NumberDecimal", "UUID"].map((name) => ({ label: name, type: "function", apply: `${name}("")` }));

/** Completes fields that are there, operators, and the shell's types. */
function completer(language: Language, fields: () => readonly string[]) {
  const operators: Completion[] = getFilteredCompletions({ meta: [...META[language]] as never }).map((one) => ({
    label: one.value,
    type: "keyword",
    detail: one.meta,
    ...("description" in one && one.description ? { info: one.description.replace(/<[^>]*>/g, "") } : {}),
  }));
  const known = operators.filter(({ label }) => /^\$/.test(label));
  return (context: CompletionContext): CompletionResult | null => {
    const word = context.matchBefore(/[$\w.]+/);
    if (!word && !context.explicit) return null;
    const from = word?.from ?? context.pos;
    const names = language === "document" ? [] : fields().map((label): Completion => ({ label, type: "property", apply: /^[A-Za-z_]\w*$/.test(label) ? label : JSON.stringify(label) }));
    return { from, options: [...names, ...known, ...SNIPPETS], validFor: /^[$\w.]*$/ };
  };
}

function extensions(options: Options): Extension[] {
  const submit = [{ key: options.single ? "Enter" : "Mod-Enter", run: () => (options.onSubmit(), true) }, { key: "Mod-Enter", run: () => (options.onSubmit(), true) }];
  const many = options.single ? [] : [lineNumbers(), foldGutter(), keymap.of([...foldKeymap, ...searchKeymap]), highlightSelectionMatches()];
  return [
    Prec.high(keymap.of(submit)),
    ...many,
    history(),
    drawSelection(),
    indentOnInput(),
    indentUnit.of("  "),
    bracketMatching(),
    closeBrackets(),
    new LanguageSupport(options.language === "document" ? jsonLanguage : javascriptLanguage.configure({ top: "SingleExpression" })),
    syntaxHighlighting(COLOURS),
    autocompletion({ override: [completer(options.language, options.fields)], icons: false }),
    keymap.of([...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap, ...historyKeymap]),
    placeholder(options.placeholder),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({ "aria-label": options.label, spellcheck: "false", tabindex: "0" }),
    EditorState.readOnly.of(options.readOnly),
    THEME,
    EditorView.updateListener.of((update) => {
      if (update.docChanged && !update.transactions.some((one) => one.annotation(OUTSIDE))) options.onChange(update.state.doc.toString());
    }),
  ];
}

/** Put an editor into `host`, which has a shadow root or gets one. */
export function createEditor(host: HTMLElement, options: Options): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const state = EditorState.create({ doc: options.value, extensions: extensions(options) });
  const view = new EditorView({ state, root, parent: root });
  return {
    set: (text) => {
      if (text !== view.state.doc.toString()) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, annotations: OUTSIDE.of(true) });
    },
    focus: () => view.focus(),
    fail: (error) => {
      const length = view.state.doc.length;
      const shown: Diagnostic[] = error ? [{ from: Math.min(error.from, length), to: Math.min(Math.max(error.to, error.from), length), severity: "error", message: error.message }] : [];
      view.dispatch(setDiagnostics(view.state, shown));
    },
    destroy: () => view.destroy(),
  };
}
