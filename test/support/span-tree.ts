import type { JaegerTrace } from '../../deploy/local/traces.ts';

/** A span, independent of its source. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  readonly name: string;
  readonly kind: string;
  readonly startTime: number;
  readonly events: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** The parts of a trace that must match the design exactly. */
export interface SpanTree {
  readonly name: string;
  readonly kind: string;
  readonly functionName?: string;
  readonly events?: readonly string[];
  readonly children: readonly SpanTree[];
}

/** The trace of a passed run with an ephemeral bucket and one object. */
export const PASSED_RUN: SpanTree = {
  name: 'storage probe',
  kind: 'internal',
  children: [
    step(
      'check if bucket exist',
      'CHECK_BUCKET',
      ['HeadBucket', 'CreateBucket'],
      ['Checking if bucket exists.', 'Bucket does not exist, going to create it.'],
    ),
    step('create object to add', 'CREATE_OBJECT', []),
    step(
      'add created object to bucket',
      'ADD_OBJECT',
      ['PutObject'],
      ['Test object has been placed in bucket.'],
    ),
    step(
      'fetch object from bucket',
      'FETCH_OBJECT',
      ['GetObject'],
      ['Test object has been fetched from bucket.'],
    ),
    step(
      'remove object from bucket',
      'REMOVE_OBJECT',
      ['DeleteObject', 'HeadObject'],
      ['Test object has been removed from bucket.'],
    ),
    step(
      'check if bucket exists',
      'REMOVE_BUCKET',
      ['HeadBucket', 'DeleteBucket'],
      ['Bucket exists, going to remove it.'],
    ),
  ],
};

export function countSpans({ children }: SpanTree): number {
  return children.reduce((sum, child) => sum + countSpans(child), 1);
}

function step(
  name: string,
  functionName: string,
  calls: readonly string[],
  events?: readonly string[],
): SpanTree {
  return {
    name,
    kind: 'internal',
    functionName,
    ...(events !== undefined && { events }),
    children: calls.map((operation) => ({ name: `S3.${operation}`, kind: 'client', children: [] })),
  };
}

/** @throws Error unless there is exactly one root and every parent exists. */
export function treeOf(spans: readonly Span[]): SpanTree {
  const [root, ...otherRoots] = spans.filter(({ parentId }) => parentId === undefined);
  if (root === undefined || otherRoots.length > 0) throw new Error(`${otherRoots.length + 1} roots`);
  const orphan = spans.find(
    ({ parentId }) => parentId !== undefined && !spans.some(({ spanId }) => spanId === parentId),
  );
  if (orphan !== undefined) throw new Error(`the parent of "${orphan.name}" is missing`);
  return subtree(root, spans);
}

function subtree(span: Span, spans: readonly Span[]): SpanTree {
  const { name, kind, events, attributes, spanId } = span;
  const functionName = attributes['function.name'];
  return {
    name,
    kind,
    ...(typeof functionName === 'string' && { functionName }),
    ...(events.length > 0 && { events }),
    children: spans
      .filter(({ parentId }) => parentId === spanId)
      .toSorted((a, b) => a.startTime - b.startTime)
      .map((child) => subtree(child, spans)),
  };
}

export function spansFromJaeger({ spans }: JaegerTrace): Span[] {
  return spans.map((span) => {
    const attributes = Object.fromEntries(span.tags.map(({ key, value }) => [key, value]));
    return {
      traceId: span.traceID,
      spanId: span.spanID,
      parentId: span.references.find(({ refType }) => refType === 'CHILD_OF')?.spanID,
      name: span.operationName,
      kind: attributes['span.kind'] === 'client' ? 'client' : 'internal',
      startTime: span.startTime,
      events: span.logs.map(({ fields }) => String(fields.find(({ key }) => key === 'event')?.value)),
      attributes,
    };
  });
}

/** Extracts the console exporter's spans from `text`, which may contain other lines. */
export function spansFromConsole(text: string): Span[] {
  const documents = text.match(/^\{\n[^]*?^\}$/gm) ?? [];
  return documents.map((document) => {
    const span = JSON.parse(document) as ConsoleSpan;
    return {
      traceId: span.context.trace_id.replace('0x', ''),
      spanId: span.context.span_id,
      parentId: span.parent_id ?? undefined,
      name: span.name,
      kind: span.kind.replace('SpanKind.', '').toLowerCase(),
      startTime: Date.parse(span.start_time),
      events: span.events.map(({ name }) => name),
      attributes: span.attributes,
    };
  });
}

/** The format of OpenTelemetry Python's console exporter. */
interface ConsoleSpan {
  name: string;
  context: { trace_id: string; span_id: string };
  kind: string;
  parent_id: string | null;
  start_time: string;
  attributes: Record<string, unknown>;
  events: { name: string }[];
}
