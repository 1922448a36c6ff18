import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { crdYaml } from './crd.ts';

interface Node {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly format?: string;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message: string }[];
}

const { spec } = parse(crdYaml()) as {
  spec: { versions: [{ schema: { openAPIV3Schema: Node } }] };
};
const { metadata, ...ours } = spec.versions[0].schema.openAPIV3Schema.properties ?? {};
const nodes = Object.entries(ours).flatMap(([name, node]) => [...nodesOf(name, node)]);

function* nodesOf(path: string, node: Node): Generator<{ path: string; node: Node }> {
  yield { path, node };
  for (const [name, child] of Object.entries(node.properties ?? {})) yield* nodesOf(`${path}.${name}`, child);
  if (node.items !== undefined) yield* nodesOf(`${path}[]`, node.items);
}

function pathsOf(isWrong: (node: Node) => boolean): string[] {
  return nodes.filter(({ node }) => isWrong(node)).map(({ path }) => path);
}

function isUnbounded({ type, maxLength, maxItems, enum: values, format }: Node): boolean {
  if (type === 'array') return maxItems === undefined;
  return type === 'string' && maxLength === undefined && values === undefined && format === undefined;
}

function nodeAt(wanted: string): Node | undefined {
  return nodes.find(({ path }) => path === wanted)?.node;
}

describe('the schema', () => {
  it('has no unions, references or additionalProperties', () => {
    const keywords = ['anyOf', 'oneOf', 'allOf', 'additionalProperties', '$ref'];
    expect(pathsOf((node) => keywords.some((keyword) => keyword in node))).toStrictEqual([]);
  });

  it('limits the length of every text and list', () => {
    expect(pathsOf(isUnbounded)).toStrictEqual(['apiVersion', 'kind']);
  });

  it('describes every field', () => {
    const undescribed = pathsOf(({ description = '' }) => !/^[A-Z].+\.$/s.test(description));
    expect(undescribed.filter((path) => !path.endsWith('[]'))).toStrictEqual([]);
  });

  it('has no look-around in patterns, because RE2 does not support it', () => {
    expect(pathsOf((node) => /\(\?[=!<]/.test(JSON.stringify(node)))).toStrictEqual([]);
  });

  it('limits the name of a probe', () => {
    expect(metadata).toMatchObject({ properties: { name: { maxLength: 63, pattern: expect.any(String) } } });
  });

  it('replaces a pattern with a rule that has a readable message', () => {
    expect(nodeAt('spec.timeout')).toStrictEqual({
      type: 'string',
      maxLength: 32,
      description:
        'Time limit for one run, all steps together. If absent, 20s or four fifths of the interval, whichever is shorter. Accepted: a duration from 100ms to 1h in h, m, s or ms, for example 30s or 1m30s.',
      'x-kubernetes-validations': [
        {
          rule: "self.matches(r'^([0-9]+(\\.[0-9]{1,3})?[hms]|[0-9]+ms)+$') && duration(self) >= duration('100ms') && duration(self) <= duration('1h')",
          message: 'must be a duration from 100ms to 1h in h, m, s or ms, for example 30s or 1m30s',
        },
      ],
    });
  });

  it('gives every whole number a format', () => {
    expect(nodeAt('spec.failureThreshold')).toMatchObject({ format: 'int32', minimum: 1, maximum: 100 });
    expect(nodeAt('status.observedGeneration')).toStrictEqual({
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'The `metadata.generation` that this status is based on.',
    });
  });
});
