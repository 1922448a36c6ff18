import { encodeSegment } from './endpoint.ts';

/**
 * Entries to ask for per page. With the longest keys, a page is far below {@link MAX_LISTING_BYTES}; a store that ignores
 * the number sends 1,000.
 */
const PAGE_SIZE = 100;

/** Longest listing that is read. */
export const MAX_LISTING_BYTES = 1_024 * 1_024;

/** Where the next page starts: query parameters. */
export type PageMarker = Readonly<Record<string, string>>;

export interface Page<T> {
  readonly entries: readonly T[];
  /** Absent on the last page. */
  readonly next?: PageMarker;
}

/** A version of an object, or a delete marker. */
export interface ListedVersion {
  readonly key: string;
  /** `null` for an object from a time when the bucket had no versioning. */
  readonly versionId: string;
  readonly isLatest: boolean;
  readonly isDeleteMarker: boolean;
}

export interface ListedUpload {
  readonly key: string;
  readonly uploadId: string;
}

/** Query of ListObjectsV2 for the page at `marker`. */
export function objectsQuery(prefix: string, marker: PageMarker = {}): string {
  return queryOf({ 'list-type': '2', 'max-keys': `${PAGE_SIZE}`, prefix, ...marker });
}

/** Query of ListObjectVersions for the page at `marker`. */
export function versionsQuery(prefix: string, marker: PageMarker = {}): string {
  return `versions&${queryOf({ 'max-keys': `${PAGE_SIZE}`, prefix, ...marker })}`;
}

/** Query of ListMultipartUploads for the page at `marker`. */
export function uploadsQuery(prefix: string, marker: PageMarker = {}): string {
  return `uploads&${queryOf({ 'max-uploads': `${PAGE_SIZE}`, prefix, ...marker })}`;
}

function queryOf(parameters: Readonly<Record<string, string>>): string {
  // Otherwise a key with a character that XML cannot represent would make the whole page unreadable.
  return Object.entries({ 'encoding-type': 'url', ...parameters })
    .map(([name, value]) => `${name}=${encodeSegment(value)}`)
    .join('&');
}

/** @returns undefined if the text is not a complete response to ListObjectsV2 or to its predecessor. */
export async function parseObjects(xml: string): Promise<Page<string> | undefined> {
  const result = await parse(xml, 'ListBucketResult');
  if (result === undefined) return undefined;
  const keys = result.children('Contents').map((object) => object.key('Key'));
  if (!result.isTruncated) return { entries: keys };
  const token = result.text('NextContinuationToken');
  const lastKey = keys.at(-1) ?? '';
  // A store without version 2 of the listing does not know tokens or `start-after`, only `marker`.
  return {
    entries: keys,
    next: token === '' ? { 'start-after': lastKey, marker: lastKey } : { 'continuation-token': token },
  };
}

/** @returns undefined if the text is not a complete response to ListObjectVersions. */
export async function parseVersions(xml: string): Promise<Page<ListedVersion> | undefined> {
  const result = await parse(xml, 'ListVersionsResult');
  if (result === undefined) return undefined;
  const entries = [
    ...result.children('Version').map((element) => listedVersion(element, false)),
    ...result.children('DeleteMarker').map((element) => listedVersion(element, true)),
  ];
  return pageOf(entries, result, { name: 'version-id-marker', element: 'NextVersionIdMarker' });
}

function listedVersion(element: Element, isDeleteMarker: boolean): ListedVersion {
  return {
    key: element.key('Key'),
    versionId: element.text('VersionId') || 'null',
    isLatest: element.text('IsLatest') === 'true',
    isDeleteMarker,
  };
}

/** @returns undefined if the text is not a complete response to ListMultipartUploads. */
export async function parseUploads(xml: string): Promise<Page<ListedUpload> | undefined> {
  const result = await parse(xml, 'ListMultipartUploadsResult');
  if (result === undefined) return undefined;
  const entries = result
    .children('Upload')
    .map((upload) => ({ key: upload.key('Key'), uploadId: upload.text('UploadId') }));
  return pageOf(entries, result, { name: 'upload-id-marker', element: 'NextUploadIdMarker' });
}

/** @param idMarker says where within the entries of one key the next page starts. */
function pageOf<T>(
  entries: readonly T[],
  result: Element,
  idMarker: { readonly name: string; readonly element: string },
): Page<T> {
  if (!result.isTruncated) return { entries };
  const id = result.text(idMarker.element);
  const next = { 'key-marker': result.key('NextKeyMarker'), ...(id !== '' && { [idMarker.name]: id }) };
  return { entries, next };
}

/** Elements that can occur several times. */
const LISTS = new Set(['Contents', 'Version', 'DeleteMarker', 'Upload']);

type Parsed = Readonly<Record<string, unknown>>;

async function parse(xml: string, root: string): Promise<Element | undefined> {
  // Loaded when needed, which a run that finds no leftovers never does.
  const { XMLParser, XMLValidator } = await import('fast-xml-parser');
  const parser = new XMLParser({
    ignoreAttributes: true,
    isArray: (name) => LISTS.has(name),
    parseTagValue: false,
    // Declared entities could expand without a limit.
    processEntities: false,
    removeNSPrefix: true,
    trimValues: false,
  });
  const parsed = parseWith(() => (XMLValidator.validate(xml) === true ? parser.parse(xml) : undefined), root);
  if (parsed === undefined) return undefined;
  return new Element(isParsed(parsed) ? parsed : {}, isParsed(parsed) && parsed['EncodingType'] === 'url');
}

/** The parser throws at names and nesting that it considers an attack. */
function parseWith(parseXml: () => unknown, root: string): unknown {
  try {
    const document = parseXml();
    return isParsed(document) ? document[root] : undefined;
  } catch {
    return undefined;
  }
}

/** An element of a listing. */
class Element {
  readonly #content: Parsed;
  readonly #keysAreEncoded: boolean;

  constructor(content: Parsed, keysAreEncoded: boolean) {
    this.#content = content;
    this.#keysAreEncoded = keysAreEncoded;
  }

  get isTruncated(): boolean {
    return this.text('IsTruncated') === 'true';
  }

  text(name: string): string {
    const value = this.#content[name];
    return typeof value === 'string' ? withoutReferences(value) : '';
  }

  key(name: string): string {
    const text = this.text(name);
    return this.#keysAreEncoded ? decoded(text) : text;
  }

  children(name: string): Element[] {
    const list = this.#content[name];
    if (!Array.isArray(list)) return [];
    return list.filter(isParsed).map((content) => new Element(content, this.#keysAreEncoded));
  }
}

function isParsed(value: unknown): value is Parsed {
  return typeof value === 'object' && value !== null;
}

const PREDEFINED: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

/** Replaces the predefined entities of XML and character references, and no others. */
function withoutReferences(text: string): string {
  return text.replaceAll(
    /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(lt|gt|quot|apos|amp));/gi,
    (reference: string, decimal?: string, hex?: string, name = '') => {
      const codePoint = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
      if (Number.isNaN(codePoint)) return PREDEFINED[String(name)] ?? reference;
      return codePoint <= 0x10_ff_ff ? String.fromCodePoint(codePoint) : reference;
    },
  );
}

/** Stores encode a space as `+` or `%20`, and a plus sign as `%2B`. */
function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', '%20'));
  } catch {
    return key;
  }
}
