import { describe, expect, it } from 'vitest';
import { MAX_FILE_BYTES, readDocuments } from './documents.ts';
import { formatProblems } from './problem.ts';

/** The example from the design. */
const DESIGN = `\
apiVersion: storageprobe.dev/v1alpha1
kind: StorageProbe
metadata: { name: my-minio, namespace: storage }
spec:
  schedule: { interval: 30s }
  timeout: 20s
  targets:
    - name: my-minio
      endpoint: http://my-minio.storage.svc:9000
      region: us-east-1
      credentialsSecretRef: { name: my-minio-probe }
      tls: { caSecretRef: { name: my-minio-ca, key: ca.crt } }
  bucket: { mode: Ephemeral }
  objects: [ { size: 4Ki }, { size: 1Mi } ]
  failureThreshold: 2
  suspend: false
status:
  observedGeneration: 3
  conditions: [ Ready, Healthy ]
  nextRunTime: …
  targets:
    - name: my-minio
      verdict: Passed
      lastRun: { id, traceId, startTime, duration, verdict, reason, failedStep, message }
      recentRuns: [ … ≤ 10 … ]
`;

const MINIMAL = `\
apiVersion: storageprobe.dev/v1alpha1
kind: StorageProbe
metadata:
  name: my-minio
spec:
  targets:
    - name: my-minio
      endpoint: http://my-minio:9000
      credentialsSecretRef: { name: my-minio-probe }
`;

const SECRET = `\
apiVersion: v1
kind: Secret
metadata: { name: my-minio-probe }
data: { accessKey: bWluaW8=, both: b25l }
stringData: { secretKey: hunter2, both: two }
`;

const ENDPOINT =
  'http://host[:port][/path] or https://host[:port][/path], for example http://my-minio.storage.svc:9000';

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Returns the formatted problems, one per line, for a single file, `my.yaml`. */
function problemsOf(text: string): string[] {
  return formatProblems(readDocuments([{ name: 'my.yaml', text }]).problems);
}

describe('valid files', () => {
  it.each([
    { name: 'the example from the design, including its status', text: DESIGN },
    { name: 'a minimal probe', text: MINIMAL },
    { name: 'JSON', text: JSON.stringify(readDocuments([{ name: 'my.yaml', text: MINIMAL }]).probes[0]) },
    { name: 'Windows line endings and a byte order mark', text: `\uFEFF${MINIMAL.replaceAll('\n', '\r\n')}` },
    { name: 'empty documents around a probe', text: `# hello\n---\n---\n${MINIMAL}---\n` },
    {
      name: 'fields that kubectl adds',
      text: MINIMAL.replace('name: my-minio\n', 'name: my-minio\n  creationTimestamp: null\n  uid: x\n'),
    },
    {
      name: 'a List',
      text: `apiVersion: v1\nkind: List\nitems: [${JSON.stringify(readDocuments([{ name: 'my.yaml', text: MINIMAL }]).probes[0])}]`,
    },
    {
      name: 'anchors, aliases and merge keys',
      text: MINIMAL.replace('targets:\n    -', 'targets:\n    - &first\n     ').concat(
        '    - { <<: *first, name: second }\n',
      ),
    },
  ])('reads $name', ({ text }) => {
    const { probes, problems } = readDocuments([{ name: 'my.yaml', text }]);
    expect(formatProblems(problems)).toStrictEqual([]);
    expect(probes.map(({ metadata }) => metadata.name)).toStrictEqual(['my-minio']);
  });

  it.each([
    { name: 'merge one anchor', anchors: [''], target: '<<: *a' },
    {
      name: 'merge anchors of anchors and repeat others',
      anchors: ['b: &b { region: x }', 'c: &c { <<: *b, addressing: Path }'],
      target: '<<: [*a, *b, *c], tls: *t, credentialsSecretRef: *k',
    },
  ])('reads 64 targets that $name', ({ anchors, target }) => {
    const fields = [
      'k: &k { name: keys, keys: { accessKey: a, secretKey: b } }',
      't: &t { caConfigMapRef: { name: ca } }',
      'a: &a { endpoint: "https://a", credentialsSecretRef: *k, tls: *t }',
      ...anchors,
    ];
    const targets = Array.from({ length: 64 }, (_, index) => `    - { name: t${index}, ${target} }\n`);
    const text = MINIMAL.replace('metadata:\n', `metadata:\n  ${fields.join('\n  ')}\n`).replace(
      /targets:\n.*/s,
      `targets:\n${targets.join('')}`,
    );
    const { probes, problems } = readDocuments([{ name: 'my.yaml', text }]);
    expect(formatProblems(problems)).toStrictEqual([]);
    expect(probes[0]?.spec.targets).toHaveLength(64);
  });

  it('collects the texts and the bytes of ConfigMaps', () => {
    const text =
      'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ca }\ndata: { ca.crt: PEM }\nbinaryData: { b: Yg== }\n';
    const { configMaps, problems } = readDocuments([{ name: 'my.yaml', text: `${MINIMAL}---\n${text}` }]);
    expect(problems).toStrictEqual([]);
    expect([...configMaps]).toStrictEqual([['default/ca', { 'ca.crt': bytesOf('PEM'), b: bytesOf('b') }]]);
  });

  it('applies the defaults', () => {
    const { probes } = readDocuments([{ name: 'my.yaml', text: MINIMAL }]);
    expect(probes[0]).toMatchObject({
      metadata: { namespace: 'default' },
      spec: { schedule: { interval: '1m' }, bucket: { mode: 'Ephemeral' }, objects: [{ size: '4Ki' }] },
    });
  });

  it('collects Secrets by namespace and name, and prefers stringData', () => {
    const { secrets, problems } = readDocuments([
      { name: 'my.yaml', text: MINIMAL },
      { name: 'secret.yaml', text: SECRET },
    ]);
    expect(problems).toStrictEqual([]);
    expect([...secrets]).toStrictEqual([
      [
        'default/my-minio-probe',
        { accessKey: bytesOf('minio'), both: bytesOf('two'), secretKey: bytesOf('hunter2') },
      ],
    ]);
  });

  it('accepts the same name in two namespaces and the same target name in two probes', () => {
    const other = MINIMAL.replace('name: my-minio\n', 'name: my-minio\n  namespace: other\n');
    expect(problemsOf(`${MINIMAL}---\n${other}`)).toStrictEqual([]);
  });
});

describe('wrong fields', () => {
  it.each([
    {
      name: 'a wrong unit',
      text: `${MINIMAL}  objects:\n    - size: 4KB\n`,
      line: 'my.yaml:11: spec.objects[0].size: "4KB" is not a size (did you mean 4Ki or 4k?); accepted: a number of bytes up to 1Gi with an optional suffix (Ki, Mi, Gi, k, M or G), for example 4Ki',
    },
    {
      name: 'a number without a unit',
      text: `${MINIMAL}  schedule:\n    interval: 30\n`,
      line: 'my.yaml:11: spec.schedule.interval: 30 is a number (did you mean 30s?); accepted: a duration from 1s to 24h in h, m, s or ms, for example 30s or 1m30s',
    },
    {
      name: 'a map instead of a list',
      text: MINIMAL.replace(/targets:[^]*/, 'targets: {}\n'),
      line: 'my.yaml:6: spec.targets: is a map; accepted: a list of 1 to 64 targets, each with name, endpoint and credentialsSecretRef or webIdentity',
    },
    {
      name: 'a missing field',
      text: MINIMAL.replace('- name: my-minio\n      endpoint', '- endpoint'),
      line: 'my.yaml:7: spec.targets[0].name: is missing; accepted: at most 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit',
    },
    {
      name: 'a missing spec',
      text: MINIMAL.replace(/spec:[^]*/, ''),
      line: 'my.yaml:1: spec: is missing; accepted: a map with schedule, timeout, targets, bucket, objects, failureThreshold, suspend',
    },
    {
      name: 'missing credentials',
      text: MINIMAL.replace(/ +credentialsSecretRef.*\n/, ''),
      line: 'my.yaml:7: spec.targets[0]: must have exactly one of credentialsSecretRef and webIdentity; accepted: credentialsSecretRef: { name: my-minio-probe }, or webIdentity: { roleArn: … }',
    },
    {
      name: 'an unknown field',
      text: `${MINIMAL}  objcts: []\n`,
      line: 'my.yaml:10: spec.objcts: unknown field (did you mean objects?); accepted: schedule, timeout, targets, bucket, objects, failureThreshold, suspend',
    },
    {
      name: 'an endpoint without a scheme',
      text: MINIMAL.replace('http://my-minio:9000', 'my-minio:9000'),
      line: `my.yaml:8: spec.targets[0].endpoint: "my-minio:9000" has no scheme (did you mean http://my-minio:9000?); accepted: ${ENDPOINT}`,
    },
    {
      name: 'an endpoint with a path',
      text: MINIMAL.replace('http://my-minio:9000', 'http://my-minio:9000/a/../b'),
      line: `my.yaml:8: spec.targets[0].endpoint: "http://my-minio:9000/a/../b" has a path with characters or segments that are not accepted; accepted: ${ENDPOINT}`,
    },
    {
      name: 'credentials in an endpoint',
      text: MINIMAL.replace('http://my-minio:9000', 'http://admin:hunter2@my-minio:9000'),
      line: `my.yaml:8: spec.targets[0].endpoint: the value (not shown) contains credentials, which belong in the Secret that credentialsSecretRef names; accepted: ${ENDPOINT}`,
    },
    {
      name: 'mode Existing without a name',
      text: `${MINIMAL}  bucket: { mode: Existing }\n`,
      line: 'my.yaml:10: spec.bucket.name: is required when mode is Existing; accepted: the name of an existing bucket',
    },
    {
      name: 'mode Ephemeral with a name',
      text: `${MINIMAL}  bucket: { name: canary }\n`,
      line: 'my.yaml:10: spec.bucket.name: "canary" cannot be used with mode Ephemeral, in which the probe chooses the name; accepted: no name, or mode: Existing',
    },
    {
      name: 'a timeout as long as the interval',
      text: `${MINIMAL}  schedule: { interval: 30s }\n  timeout: 30s\n`,
      line: 'my.yaml:11: spec.timeout: "30s" is not shorter than schedule.interval; accepted: a timeout shorter than the interval (default 1m), so that a run finishes before the next one starts',
    },
    {
      name: 'both interval and cron',
      text: `${MINIMAL}  schedule:\n    interval: 30s\n    cron: "* * * * *"\n`,
      line: 'my.yaml:10: spec.schedule: must have exactly one of interval and cron; accepted: { interval: 30s }, or { cron: "*/5 * * * *", timeZone: Europe/Berlin }',
    },
    {
      name: 'two targets with the same name',
      text: `${MINIMAL}    - name: my-minio\n      endpoint: http://other\n      credentialsSecretRef: { name: other }\n`,
      line: 'my.yaml:10: spec.targets[1].name: "my-minio" is already used by an earlier target; accepted: a name that is unique in the probe',
    },
    {
      name: 'a field behind an alias',
      text: `${MINIMAL}    - &wrong { name: A, endpoint: http://other, credentialsSecretRef: { name: other } }\n  objects: *wrong\n`,
      line: 'my.yaml:10: spec.targets[1].name: "A" is not a valid target name; accepted: at most 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit',
    },
    {
      name: 'a wrong field in an item of a List',
      text: `apiVersion: v1\nkind: List\nitems:\n- apiVersion: storageprobe.dev/v1alpha1\n  kind: StorageProbe\n  metadata: { name: a }\n  spec: { targets: [] }\n`,
      line: 'my.yaml:7: items[0].spec.targets: has 0 entries; accepted: a list of 1 to 64 targets, each with name, endpoint and credentialsSecretRef or webIdentity',
    },
  ])('reports $name', ({ text, line }) => {
    expect(problemsOf(text)[0]).toBe(line);
  });

  it('reports all, in file order', () => {
    const text = `${MINIMAL}  suspend: 1\n`.replace('name: my-minio\n', 'name: My\n');
    expect(problemsOf(text).map((line) => line.replace(/;.*/, ''))).toStrictEqual([
      'my.yaml:4: metadata.name: "My" is not a valid name',
      'my.yaml:10: spec.suspend: 1 is a number',
    ]);
  });

  it('lists 20 and counts the rest', () => {
    const text = MINIMAL + Array.from({ length: 25 }, (_, index) => `x${index}: 1\n`).join('');
    const lines = problemsOf(text);
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toBe('and 5 more');
  });
});

describe('wrong documents', () => {
  const accepted = 'accepted: StorageProbe, Secret and ConfigMap documents, in YAML or JSON';

  it.each([
    { name: 'an empty file', text: '', line: `my.yaml: is empty; ${accepted}` },
    { name: 'only comments', text: '# nothing\n---\n', line: `my.yaml: is empty; ${accepted}` },
    {
      name: 'a file that is too large',
      text: `${MINIMAL}#${' '.repeat(MAX_FILE_BYTES)}`,
      line: 'my.yaml: is too large; accepted: at most 1 MiB',
    },
    {
      name: 'a web page',
      text: '<!doctype html>\n<html><title>Login</title></html>',
      line: 'my.yaml:1: is HTML or XML, not YAML',
    },
    {
      name: 'prose',
      text: 'hello',
      line: `my.yaml:1: is not a Kubernetes resource (a map with apiVersion and kind); ${accepted}`,
    },
    {
      name: 'a list',
      text: '\n- a\n',
      line: `my.yaml:2: is not a Kubernetes resource (a map with apiVersion and kind); ${accepted}`,
    },
    {
      name: 'a misspelled kind',
      text: MINIMAL.replace('StorageProbe', 'StorageProbes'),
      line: 'my.yaml:2: kind: "StorageProbes" is not supported (did you mean StorageProbe?); accepted: StorageProbe, Secret, ConfigMap, or a List of them',
    },
    {
      name: 'an unsupported kind',
      text: 'apiVersion: apps/v1\nkind: Deployment\n',
      line: 'my.yaml:2: kind: "Deployment" is not supported; accepted: StorageProbe, Secret, ConfigMap, or a List of them',
    },
    {
      name: 'a missing kind',
      text: 'apiVersion: v1\n',
      line: 'my.yaml:1: kind: is missing; accepted: StorageProbe, Secret, ConfigMap, or a List of them',
    },
    {
      name: 'a wrong apiVersion',
      text: MINIMAL.replace(/apiVersion.*/, 'apiVersion: v1'),
      line: 'my.yaml:1: apiVersion: "v1" is not the apiVersion of StorageProbe; accepted: storageprobe.dev/v1alpha1',
    },
    {
      name: 'a missing apiVersion',
      text: 'kind: StorageProbe\n',
      line: 'my.yaml:1: apiVersion: is missing; accepted: storageprobe.dev/v1alpha1',
    },
    {
      name: 'a List in a List',
      text: 'apiVersion: v1\nkind: List\nitems: [{ apiVersion: v1, kind: List }]\n',
      line: 'my.yaml:3: items[0].kind: "List" is not supported; accepted: StorageProbe, Secret or ConfigMap',
    },
    {
      name: 'a List without items',
      text: 'apiVersion: v1\nkind: List\n',
      line: 'my.yaml:1: items: is missing; accepted: a list of StorageProbes, Secrets and ConfigMaps',
    },
    {
      name: 'two probes with the same name',
      text: `${MINIMAL}---\n${MINIMAL}`,
      line: 'my.yaml:14: metadata.name: is already used by the StorageProbe at my.yaml:4, in the same namespace; accepted: a name that is unique in its namespace',
    },
  ])('reports $name', ({ text, line }) => {
    expect(problemsOf(text)).toStrictEqual([line]);
  });

  it('names both files if two probes have the same name', () => {
    const { problems } = readDocuments([
      { name: 'a.yaml', text: DESIGN },
      { name: 'b.yaml', text: DESIGN },
    ]);
    expect(formatProblems(problems)).toStrictEqual([
      'b.yaml:3: metadata.name: is already used by the StorageProbe at a.yaml:3, in the same namespace; accepted: a name that is unique in its namespace',
    ]);
  });

  it('requires at least one StorageProbe', () => {
    expect(problemsOf(SECRET)).toStrictEqual(['no StorageProbe found; accepted: at least one StorageProbe']);
  });
});

describe('wrong YAML', () => {
  it.each([
    {
      name: 'a tab in the indentation',
      text: 'spec:\n\ttimeout: 1s\n',
      line: 'my.yaml:2:1: is not valid YAML: the indentation contains a tab; use spaces',
    },
    {
      name: 'a duplicate field',
      text: 'kind: a\nspec: {}\nkind: b\n',
      line: 'my.yaml:3:1: duplicate field "kind"',
    },
    {
      name: 'inconsistent indentation',
      text: 'a:\n  b: 1\n c: 2\n',
      line: 'my.yaml:3:1: is not valid YAML: the indentation does not match the lines around it',
    },
    {
      name: 'a missing colon',
      text: 'a: 1\nfoo\nb: 2\n',
      line: 'my.yaml:2:1: is not valid YAML: a field has no colon after its name',
    },
    {
      name: 'an unclosed quote',
      text: 'a: "hunter2\n',
      line: 'my.yaml:2:1: is not valid YAML: a colon, comma, quote or bracket is missing',
    },
    {
      name: 'text after a quoted string',
      text: 'a: "x" hunter2\n',
      line: 'my.yaml:1:8: is not valid YAML: unexpected content',
    },
    {
      name: 'a field name that is a list',
      text: '? [a]\n: b\n',
      line: 'my.yaml:1:3: is not valid YAML: a field name is not text',
    },
    {
      name: 'an unsupported tag',
      text: 'a: !vault hunter2\n',
      line: 'my.yaml:1:4: is not valid YAML: a tag (!) is not supported',
    },
    {
      name: 'an alias without an anchor',
      text: 'a: *b\n',
      line: 'my.yaml:1:4: alias (*) without an anchor (&) before it',
    },
    {
      name: 'an alias inside its own anchor',
      text: 'a: &a [*a, 1]\n',
      line: 'my.yaml:1:8: alias (*) inside its own anchor (&)',
    },
    { name: 'an alias bomb', text: aliasBomb(), line: 'my.yaml:1:1: expands too many aliases (*)' },
    {
      name: 'too many aliases of a word',
      text: `a: &a x\nb: [${'*a, '.repeat(100_000)}]\n`,
      line: 'my.yaml:1:1: expands too many aliases (*)',
    },
    {
      name: 'very deep nesting',
      text: '['.repeat(100_000),
      line: expect.stringMatching(/^my\.yaml:1:\d+: is not valid YAML: it is nested too deeply$/),
    },
  ])('reports $name', ({ text, line }) => {
    expect(problemsOf(text)).toStrictEqual([line]);
  });

  it('reports a syntax error together with earlier problems', () => {
    const text = `apiVersion: v1\nkind: Pod\n---\na: "x" y\n---\nkind: Pod\n`;
    expect(problemsOf(text)).toStrictEqual([
      'my.yaml:2: kind: "Pod" is not supported; accepted: StorageProbe, Secret, ConfigMap, or a List of them',
      'my.yaml:4:8: is not valid YAML: unexpected content',
    ]);
  });
});

describe('wrong Secrets (values are never shown)', () => {
  it.each([
    {
      name: 'a value that is not base64',
      fields: 'data: { accessKey: hunter2! }',
      line: 'data.accessKey: the value (not shown) is not base64; accepted: base64 with padding; put plain text under stringData',
    },
    {
      name: 'base64 without padding',
      fields: 'data: { accessKey: aHVudGVyMg }',
      line: 'data.accessKey: the value (not shown) is not base64; accepted: base64 with padding; put plain text under stringData',
    },
    {
      name: 'a number',
      fields: 'stringData: { secretKey: 123456 }',
      line: 'stringData.secretKey: the value (not shown) is a number (put it in quotes); accepted: text, in quotes if it looks like a number',
    },
    {
      name: 'a misspelled field',
      fields: 'stringdata: { secretKey: hunter2 }',
      line: 'stringdata: unknown field (did you mean stringData?); accepted: apiVersion, kind, metadata, type, immutable, data, stringData',
    },
    {
      name: 'text instead of a map',
      fields: 'data: hunter2',
      line: 'data: the value (not shown) is text; accepted: a map of base64 values',
    },
    {
      name: 'text instead of a boolean',
      fields: 'immutable: hunter2',
      line: 'immutable: the value (not shown) is text; accepted: true or false',
    },
  ])('reports $name', ({ fields, line }) => {
    const text = `apiVersion: v1\nkind: Secret\nmetadata: { name: a }\n${fields}\n`;
    expect(problemsOf(text)).toStrictEqual([`my.yaml:4: ${line}`]);
  });

  it('reports a wrong apiVersion', () => {
    expect(problemsOf('apiVersion: hunter2\nkind: Secret\n')).toStrictEqual([
      'my.yaml:1: apiVersion: is not the apiVersion of Secret; accepted: v1',
    ]);
  });

  it('reports two Secrets with the same name', () => {
    expect(problemsOf(`${MINIMAL}---\n${SECRET}---\n${SECRET}`)).toStrictEqual([
      'my.yaml:19: metadata.name: is already used by the Secret at my.yaml:13, in the same namespace; accepted: a name that is unique in its namespace',
    ]);
  });
});

/** Nine lists. Each repeats the previous list nine times. */
function aliasBomb(): string {
  const names = 'abcdefghi'.split('');
  const line = (name: string, index: number): string =>
    `${name}: &${name} [${Array.from({ length: 9 }, () => (index === 0 ? 'x' : `*${names[index - 1]}`)).join(', ')}]\n`;
  return names.map(line).join('');
}
