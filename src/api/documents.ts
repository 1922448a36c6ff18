import { check, type Checked } from './check.ts';
import { formatLocation, type Location, type Path, type Problem, showText } from './problem.ts';
import type { ObjectData } from './object-data.ts';
import { ConfigMap, objectData, Secret } from './secret.ts';
import { API_VERSION, KIND, StorageProbe } from './storage-probe.ts';
import { didYouMean, nearest } from './suggest.ts';
import { parseYaml, type YamlDocument } from './yaml-text.ts';

/** Largest accepted file, in UTF-8 bytes. */
export const MAX_FILE_BYTES = 1_048_576;

/** Name and content of one file. */
export interface Source {
  /** File name as shown in problems. */
  readonly name: string;
  readonly text: string;
}

export interface Documents {
  readonly probes: readonly StorageProbe[];
  /** Data of the Secrets by {@link resourceId}. */
  readonly secrets: ReadonlyMap<string, ObjectData>;
  /** Data of the ConfigMaps by {@link resourceId}. */
  readonly configMaps: ReadonlyMap<string, ObjectData>;
  /** In file order. If there are problems, the rest is incomplete and must not be used. */
  readonly problems: readonly Problem[];
}

const NAME_PATH = ['metadata', 'name'];
const ACCEPTED = 'StorageProbe, Secret and ConfigMap documents, in YAML or JSON';

/** The `apiVersion` of each kind. */
const ITEM_VERSIONS: ReadonlyMap<string, string> = new Map([
  [KIND, API_VERSION],
  ['Secret', 'v1'],
  ['ConfigMap', 'v1'],
]);
const VERSIONS: ReadonlyMap<string, string> = new Map([
  ...ITEM_VERSIONS,
  ['List', 'v1'],
  [`${KIND}List`, API_VERSION],
]);

/** One resource: a document or an item of a List. */
interface Item {
  readonly value: unknown;
  readonly document: YamlDocument;
  /** Path from the root of the document. */
  readonly path: Path;
}

interface Entry<T> {
  readonly resource: T;
  readonly at: Location;
}

/** Resources found so far, by {@link resourceId}. */
interface Found {
  readonly probes: Map<string, Entry<StorageProbe>>;
  readonly secrets: Map<string, Entry<Secret>>;
  readonly configMaps: Map<string, Entry<ConfigMap>>;
}

/** Key of a namespaced resource: `namespace/name`. */
export function resourceId({ namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}/${name}`;
}

/**
 * Reads StorageProbes, Secrets, ConfigMaps and Lists of them, and collects all problems.
 *
 * @param options.needsProbe if true, sources without a StorageProbe are a problem. Default true.
 */
export function readDocuments(
  sources: readonly Source[],
  { needsProbe = true }: { readonly needsProbe?: boolean } = {},
): Documents {
  const found: Found = { probes: new Map(), secrets: new Map(), configMaps: new Map() };
  const problems = sources.flatMap((source) => readSource(source, found).toSorted(byLine));
  if (needsProbe && found.probes.size === 0 && problems.length === 0) {
    problems.push({ path: [], message: `no ${KIND} found`, accepted: `at least one ${KIND}` });
  }
  return {
    probes: [...found.probes.values()].map(({ resource }) => resource),
    secrets: dataById(found.secrets),
    configMaps: dataById(found.configMaps),
    problems,
  };
}

function dataById(found: ReadonlyMap<string, Entry<Secret | ConfigMap>>): Map<string, ObjectData> {
  return new Map(Array.from(found, ([id, { resource }]) => [id, objectData(resource)]));
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
    const message = 'is not a Kubernetes resource (a map with apiVersion and kind)';
    return [problemIn(item, { path: [], message, accepted: ACCEPTED })];
  }

  const problem = typeProblem(value, path.length > 0);
  if (problem !== undefined) return [problemIn(item, problem)];
  switch (value['kind']) {
    case KIND:
      return add(KIND, check(StorageProbe, value), item, found.probes);
    case 'Secret':
      return add('Secret', check(Secret, value, { hideValues: true }), item, found.secrets);
    case 'ConfigMap':
      return add('ConfigMap', check(ConfigMap, value, { hideValues: true }), item, found.configMaps);
    default:
      return readList(item, value['items'], found);
  }
}

/** Adds a valid resource to `found`, or returns its problems. */
function add<T extends StorageProbe | Secret | ConfigMap>(
  kind: string,
  checked: Checked<T>,
  item: Item,
  found: Map<string, Entry<T>>,
): Problem[] {
  if ('problems' in checked) return checked.problems.map((problem) => problemIn(item, problem));

  const id = resourceId(checked.value.metadata);
  const earlier = found.get(id);
  if (earlier !== undefined) {
    const message = `is already used by the ${kind} at ${formatLocation(earlier.at)}, in the same namespace`;
    return [
      problemIn(item, { path: NAME_PATH, message, accepted: 'a name that is unique in its namespace' }),
    ];
  }
  found.set(id, { resource: checked.value, at: locationIn(item, NAME_PATH) });
  return [];
}

function readList(item: Item, items: unknown, found: Found): Problem[] {
  if (!Array.isArray(items)) {
    const accepted = `a list of ${KIND}s, Secrets and ConfigMaps`;
    return [problemIn(item, { path: ['items'], message: missingOr('is not a list', items), accepted })];
  }
  return items.flatMap((value: unknown, index) =>
    readItem({ value, document: item.document, path: ['items', index] }, found),
  );
}

/** The problem with `apiVersion` or `kind`, if any. */
function typeProblem({ apiVersion, kind }: Record<string, unknown>, isInList: boolean): Problem | undefined {
  const versions = isInList ? ITEM_VERSIONS : VERSIONS;
  const kinds = isInList ? `${KIND}, Secret or ConfigMap` : `${KIND}, Secret, ConfigMap, or a List of them`;
  if (typeof kind !== 'string') {
    return { path: ['kind'], message: missingOr('is not text', kind), accepted: kinds };
  }
  const version = versions.get(kind);
  if (version === undefined) {
    const message = `is not supported${didYouMean(nearest(kind, [...versions.keys()]))}`;
    return { path: ['kind'], value: showText(kind), message, accepted: kinds };
  }

  if (apiVersion === version) return undefined;
  const shown = typeof apiVersion === 'string' && kind !== 'Secret' ? { value: showText(apiVersion) } : {};
  const message = missingOr(`is not the apiVersion of ${kind}`, apiVersion);
  return { path: ['apiVersion'], ...shown, message, accepted: version };
}

function missingOr(fault: string, value: unknown): string {
  return value === undefined || value === null ? 'is missing' : fault;
}

function problemIn(item: Item, problem: Problem): Problem {
  return { ...problem, at: locationIn(item, problem.path), path: [...item.path, ...problem.path] };
}

function locationIn({ document, path: root }: Item, path: Path): Location {
  return document.locationOf([...root, ...path]);
}

function byLine(a: Problem, b: Problem): number {
  return (a.at?.line ?? 0) - (b.at?.line ?? 0);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
