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
import { type Path, type Place, type Problem, showText } from './problem.ts';

/** One document of a YAML text. */
export interface YamlDocument {
  readonly value: unknown;
  /** Where a field stands; for one that is missing, where the nearest map around it stands. */
  readonly placeOf: (path: Path) => Place;
}

export interface YamlText {
  readonly documents: readonly YamlDocument[];
  readonly problems: readonly Problem[];
}

/**
 * Most aliases that one document may expand to. Far more than files share by anchors, far less than a YAML bomb needs.
 */
const MAX_ALIASES = 100;

/** What is wrong by the error's code: the library's own messages can quote the text, and with it a secret. */
const SYNTAX_FAULTS: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'an alias (*) is not well written',
  BAD_DIRECTIVE: 'a directive (%) is not known',
  BAD_DQ_ESCAPE: 'a text in double quotes has an escape (\\) that is not known',
  BAD_INDENT: 'the indentation does not match the lines around it',
  BAD_SCALAR_START: 'a text starts with a character that needs quotes around the text',
  BLOCK_AS_IMPLICIT_KEY: 'a map or list starts on the line of another field',
  MISSING_CHAR: 'a colon, comma, quote or bracket is missing',
  MULTILINE_IMPLICIT_KEY: 'a field has no colon after its name',
  NON_STRING_KEY: 'the name of a field is not text',
  RESOURCE_EXHAUSTION: 'it is nested too deeply',
  TAB_AS_INDENT: 'a tab stands in the indentation; YAML takes only spaces there',
  TAG_RESOLVE_FAILED: 'a tag (!) is not accepted',
};

/** Parses YAML, and so JSON. After a syntax error the rest of the text is left out: what follows it would be noise. */
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
    uniqueKeys: false, // quadratic in the library: minutes for a file of 1 MiB
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
      const fault = SYNTAX_FAULTS[error.code] ?? 'something stands where it does not belong';
      report(error.pos[0], `is not valid YAML: ${fault}`);
      break;
    }

    const { fields, faults } = indexFields(document);
    for (const { node, message } of faults) report(startOf(node), message);
    if (faults.length > 0) continue;

    const value = valueOf(document);
    if (value === undefined) report(startOf(document.contents), 'repeats itself too often by aliases (*)');
    else {
      const placeOf = (path: Path): Place => {
        const { line } = lines.linePos(startOf(nodeAt(document, fields, path)));
        return { file, line };
      };
      documents.push({ value, placeOf });
    }
  }
  return { documents, problems };
}

/** Undefined if the aliases expand to too much; null for an empty document. */
function valueOf(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    if (error instanceof ReferenceError) return undefined;
    throw error;
  }
}

interface Fault {
  readonly node: unknown;
  readonly message: string;
}

type Fields = Map<YAMLMap, Map<string, Pair>>;

/** The fields of every map by name, and faults that the library would find too slowly, too late or not at all. */
function indexFields(document: Document): { fields: Fields; faults: Fault[] } {
  const fields: Fields = new Map();
  const faults: Fault[] = [];
  const anchors = new Set<string>();
  visit(document, {
    Node: (_, node, ancestors) => {
      if (isAlias(node)) {
        const isInside = ancestors.some((above) => 'anchor' in above && above.anchor === node.source);
        if (isInside) faults.push({ node, message: 'alias (*) inside of what it repeats' });
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
      faults.push({ node: pair.key, message: `field ${showText(name)} stands twice in one map` });
    }
    fields.set(name, pair);
  }
  return fields;
}

/** The node of a field, by its name where it has one; if it is missing, the nearest one around it. */
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
