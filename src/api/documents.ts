import { check, type Checked } from './check.ts';
import { formatPlace, type Path, type Place, type Problem, showText } from './problem.ts';
import { Secret, secretValues } from './secret.ts';
import { API_VERSION, KIND, StorageProbe } from './storage-probe.ts';
import { didYouMean, nearest } from './suggest.ts';
import { parseYaml, type YamlDocument } from './yaml-text.ts';

/** Largest text that is read, in UTF-8 bytes. */
export const MAX_FILE_BYTES = 1_048_576;

/** One file, read. */
export interface Source {
  /** File name, for problems. */
  readonly name: string;
  readonly text: string;
}

export interface Documents {
  readonly probes: readonly StorageProbe[];
  /** Contents of the Secrets by {@link resourceId}, each by key. */
  readonly secrets: ReadonlyMap<string, SecretValues>;
  /** In the order of the texts. Where there is one, the rest is incomplete and must not be acted on. */
  readonly problems: readonly Problem[];
}

export type SecretValues = Readonly<Record<string, string | Uint8Array>>;

const NAME = ['metadata', 'name'];
const ACCEPTED = 'StorageProbe and Secret documents, in YAML or JSON';

/** The `apiVersion` of each kind. */
const ITEM_VERSIONS: ReadonlyMap<string, string> = new Map([
  [KIND, API_VERSION],
  ['Secret', 'v1'],
]);
const VERSIONS: ReadonlyMap<string, string> = new Map([
  ...ITEM_VERSIONS,
  ['List', 'v1'],
  [`${KIND}List`, API_VERSION],
]);

/** What stands for one resource: a document, or an item of a List. */
interface Item {
  readonly value: unknown;
  readonly document: YamlDocument;
  /** From the root of the document. */
  readonly path: Path;
}

interface Entry<T> {
  readonly resource: T;
  readonly at: Place;
}

/** What was found so far, by {@link resourceId}. */
interface Found {
  readonly probes: Map<string, Entry<StorageProbe>>;
  readonly secrets: Map<string, Entry<Secret>>;
}

/** Key of a namespaced resource: `namespace/name`. */
export function resourceId({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}

/** Reads StorageProbes, Secrets and Lists of them, and gathers all that is wrong with them. */
export function readDocuments(sources: readonly Source[]): Documents {
  const found: Found = { probes: new Map(), secrets: new Map() };
  const problems = sources.flatMap((source) => readSource(source, found).toSorted(byLine));
  if (found.probes.size === 0 && problems.length === 0) {
    problems.push({ path: [], message: `no ${KIND} found`, accepted: `at least one ${KIND}` });
  }
  return {
    probes: [...found.probes.values()].map(({ resource }) => resource),
    secrets: new Map([...found.secrets].map(([id, { resource }]) => [id, secretValues(resource)])),
    problems,
  };
}

function readSource({ name: file, text }: Source, found: Found): Problem[] {
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) {
    return [{ at: { file }, path: [], message: 'is too large', accepted: 'at most 1 MiB' }];
  }

  const { documents, problems } = parseYaml(file, text);
  const present = documents.filter(({ value }) => value !== null);
  if (present.length === 0 && problems.length === 0) {
    return [{ at: { file }, path: [], message: 'is empty', accepted: ACCEPTED }];
  }
  return [
    ...problems,
    ...present.flatMap((document) => readItem({ value: document.value, document, path: [] }, found)),
  ];
}

function readItem(item: Item, found: Found): Problem[] {
  const { value, path } = item;
  if (!isMap(value)) {
    const message = 'is not a resource: a map with apiVersion and kind';
    return [problemIn(item, { path: [], message, accepted: ACCEPTED })];
  }

  const wrongHead = headProblem(value, path.length > 0);
  if (wrongHead !== undefined) return [problemIn(item, wrongHead)];
  switch (value['kind']) {
    case KIND:
      return add(KIND, check(StorageProbe, value), item, found.probes);
    case 'Secret':
      return add('Secret', check(Secret, value, { hideValues: true }), item, found.secrets);
    default:
      return readList(item, value['items'], found);
  }
}

/** Adds a checked resource to those found, or says why not. */
function add<T extends StorageProbe | Secret>(
  kind: string,
  checked: Checked<T>,
  item: Item,
  found: Map<string, Entry<T>>,
): Problem[] {
  if ('problems' in checked) return checked.problems.map((problem) => problemIn(item, problem));

  const id = resourceId(checked.value.metadata);
  const earlier = found.get(id);
  if (earlier !== undefined) {
    const message = `is that of the ${kind} at ${formatPlace(earlier.at)}, in the same namespace`;
    return [problemIn(item, { path: NAME, message, accepted: `one ${kind} of a name in a namespace` })];
  }
  found.set(id, { resource: checked.value, at: placeIn(item, NAME) });
  return [];
}

function readList(item: Item, items: unknown, found: Found): Problem[] {
  if (!Array.isArray(items)) {
    const accepted = `a list of ${KIND} and Secret`;
    return [problemIn(item, { path: ['items'], message: missingOr('is not a list', items), accepted })];
  }
  return items.flatMap((value: unknown, index) =>
    readItem({ value, document: item.document, path: ['items', index] }, found),
  );
}

/** What is wrong with the two fields that say what a resource is. */
function headProblem({ apiVersion, kind }: Record<string, unknown>, inList: boolean): Problem | undefined {
  const versions = inList ? ITEM_VERSIONS : VERSIONS;
  const kinds = inList ? `${KIND} or Secret` : `${KIND}, Secret, or a List of them`;
  if (typeof kind !== 'string') {
    return { path: ['kind'], message: missingOr('is not text', kind), accepted: kinds };
  }
  const version = versions.get(kind);
  if (version === undefined) {
    const message = `is not read here${didYouMean(nearest(kind, [...versions.keys()]))}`;
    return { path: ['kind'], value: showText(kind), message, accepted: kinds };
  }

  if (apiVersion === version) return undefined;
  const shown = typeof apiVersion === 'string' && kind !== 'Secret' ? { value: showText(apiVersion) } : {};
  const message = missingOr(`is not that of ${kind}`, apiVersion);
  return { path: ['apiVersion'], ...shown, message, accepted: version };
}

function missingOr(fault: string, value: unknown): string {
  return value === undefined || value === null ? 'is missing' : fault;
}

function problemIn(item: Item, problem: Problem): Problem {
  return { ...problem, at: placeIn(item, problem.path), path: [...item.path, ...problem.path] };
}

function placeIn({ document, path: root }: Item, path: Path): Place {
  return document.placeOf([...root, ...path]);
}

function byLine(a: Problem, b: Problem): number {
  return (a.at?.line ?? 0) - (b.at?.line ?? 0);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
