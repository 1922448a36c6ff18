import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { type Location, type Path, type Problem, showText } from './problem.ts';

/** One document of a YAML text. */
export interface YamlDocument {
  readonly value: unknown;
  /** Location of a field. If the field is missing, the location of the nearest enclosing field. */
  readonly locationOf: (path: Path) => Location;
}

export interface YamlText {
  readonly documents: readonly YamlDocument[];
  readonly problems: readonly Problem[];
}

/**
 * Limits on aliases in one document: far more than 64 targets need that share all their fields, far fewer than a YAML bomb
 * needs. The number of aliases is limited because the library's time to resolve them is quadratic.
 */
const MAX_ALIASES = 5_000;
/** Nodes that all aliases together stand for, with nested aliases expanded. */
const MAX_ALIASED_NODES = 100_000;

/** Messages by error code. They replace the library's messages, which can quote the text and with it a secret. */
const SYNTAX_FAULTS: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'an alias (*) is malformed',
  BAD_DIRECTIVE: 'a directive (%) is not supported',
  BAD_DQ_ESCAPE: 'a double-quoted text contains an unknown escape (\\)',
  BAD_INDENT: 'the indentation does not match the lines around it',
  BAD_SCALAR_START: 'a text starts with a special character and needs quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a map or list starts on the same line as another field',
  MISSING_CHAR: 'a colon, comma, quote or bracket is missing',
  MULTILINE_IMPLICIT_KEY: 'a field has no colon after its name',
  NON_STRING_KEY: 'a field name is not text',
  RESOURCE_EXHAUSTION: 'it is nested too deeply',
  TAB_AS_INDENT: 'the indentation contains a tab; use spaces',
  TAG_RESOLVE_FAILED: 'a tag (!) is not supported',
};

/** Parses YAML, which includes JSON. Stops at the first syntax error, because later errors would be misleading. */
export function parseYaml(file: string, text: string): YamlText {
  if (/^\s*<[a-z!?]/i.test(text)) {
    const problem = { at: { file, line: 1 }, path: [], message: 'is HTML or XML, not YAML' };
    return { documents: [], problems: [problem] };
  }

  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, {
    lineCounter: lines,
    logLevel: 'silent',
    merge: true,
    prettyErrors: false,
    resolveKnownTags: false,
    stringKeys: true,
    uniqueKeys: false, // the library's check is quadratic: it takes minutes for a file of 1 MiB
  });

  const documents: YamlDocument[] = [];
  const problems: Problem[] = [];
  const report = (offset: number, message: string): void => {
    const { line, col: column } = lines.linePos(offset);
    problems.push({ at: { file, line, column }, path: [], message });
  };
  for (const document of parsed) {
    const [error] = [...document.errors, ...document.warnings];
    if (error !== undefined) {
      const fault = SYNTAX_FAULTS[error.code] ?? 'unexpected content';
      report(error.pos[0], `is not valid YAML: ${fault}`);
      break;
    }

    const { fields, faults } = indexFields(document);
    for (const { node, message } of faults) report(startOf(node), message);
    if (faults.length > 0) continue;

    if (hasTooManyAliases(document)) report(startOf(document.contents), 'expands too many aliases (*)');
    else {
      const value: unknown = document.toJS({ maxAliasCount: -1 }); // checked above
      const locationOf = (path: Path): Location => {
        const { line } = lines.linePos(startOf(nodeAt(document, fields, path)));
        return { file, line };
      };
      documents.push({ value, locationOf });
    }
  }
  return { documents, problems };
}

/**
 * The library's own limit is too strict: it counts the uses of an anchor times the aliases in that anchor, and so
 * rejects files where each target merges a few anchors.
 */
function hasTooManyAliases(document: Document): boolean {
  const sizes = new Map<string, number>();
  let aliases = 0;
  let aliasedNodes = 0;
  const sizeOf = (node: unknown): number => {
    if (isAlias(node)) {
      const size = sizes.get(node.source) ?? 1;
      aliases += 1;
      aliasedNodes += size;
      return size;
    }
    let size = 1;
    if (isMap(node)) for (const { key, value } of node.items) size += sizeOf(key) + sizeOf(value);
    if (isSeq(node)) for (const item of node.items) size += sizeOf(item);
    if (isNode(node) && node.anchor !== undefined) sizes.set(node.anchor, size);
    return size;
  };
  sizeOf(document.contents);
  return aliases > MAX_ALIASES || aliasedNodes > MAX_ALIASED_NODES;
}

interface Fault {
  readonly node: unknown;
  readonly message: string;
}

type Fields = Map<YAMLMap, Map<string, Pair>>;

/**
 * Returns the fields of every map, keyed by name, and faults that the YAML library misses or reports too late or too
 * slowly.
 */
function indexFields(document: Document): { fields: Fields; faults: Fault[] } {
  const fields: Fields = new Map();
  const faults: Fault[] = [];
  const anchors = new Set<string>();
  visit(document, {
    Node: (_, node, ancestors) => {
      if (isAlias(node)) {
        const isInside = ancestors.some((above) => 'anchor' in above && above.anchor === node.source);
        if (isInside) faults.push({ node, message: 'alias (*) inside its own anchor (&)' });
        else if (!anchors.has(node.source))
          faults.push({ node, message: 'alias (*) without an anchor (&) before it' });
        return;
      }
      if (node.anchor !== undefined) anchors.add(node.anchor);
      if (isMap(node)) fields.set(node, fieldsOf(node, faults));
    },
  });
  return { fields, faults };
}

function fieldsOf(map: YAMLMap, faults: Fault[]): Map<string, Pair> {
  const fields = new Map<string, Pair>();
  for (const pair of map.items) {
    const name = isScalar(pair.key) ? pair.key.value : undefined;
    if (typeof name !== 'string') continue; // a merge key (<<)
    if (fields.has(name)) {
      faults.push({ node: pair.key, message: `duplicate field ${showText(name)}` });
    }
    fields.set(name, pair);
  }
  return fields;
}

/** The node of a field's name or of a list item. If the field is missing, the nearest enclosing one. */
function nodeAt(document: Document, fields: Fields, path: Path): unknown {
  let found: unknown = document.contents;
  let node: unknown = document.contents;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = fields.get(node)?.get(String(part));
      if (pair === undefined) break;
      found = pair.key;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      found = node.items[part];
      node = found;
    } else break;
  }
  return found;
}

function startOf(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}
