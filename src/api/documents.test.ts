import { describe, expect, it } from 'vitest';
import { MAX_FILE_BYTES, readDocuments } from './documents.ts';
import { formatProblems } from './problem.ts';

/** From the design. */
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

const LEAST = `\
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
  'http:// or https://, a host and an optional port, nothing more, for example http://my-minio.storage.svc:9000';

/** Lines of the problems of one file, `my.yaml`. */
function problemsOf(text: string): string[] {
  return formatProblems(readDocuments([{ name: 'my.yaml', text }]).problems);
}

describe('what it reads', () => {
  it.each([
    { name: 'the example of the design, with its status', text: DESIGN },
    { name: 'the least that works', text: LEAST },
    { name: 'JSON', text: JSON.stringify(readDocuments([{ name: 'my.yaml', text: LEAST }]).probes[0]) },
    { name: 'Windows line ends and a byte order mark', text: `\uFEFF${LEAST.replaceAll('\n', '\r\n')}` },
    { name: 'empty documents around it', text: `# hello\n---\n---\n${LEAST}---\n` },
    {
      name: 'what kubectl adds',
      text: LEAST.replace('name: my-minio\n', 'name: my-minio\n  creationTimestamp: null\n  uid: x\n'),
    },
    {
      name: 'a List',
      text: `apiVersion: v1\nkind: List\nitems: [${JSON.stringify(readDocuments([{ name: 'my.yaml', text: LEAST }]).probes[0])}]`,
    },
    {
      name: 'anchors, aliases and merge keys',
      text: LEAST.replace('targets:\n    -', 'targets:\n    - &first\n     ').concat(
        '    - { <<: *first, name: second }\n',
      ),
    },
  ])('$name', ({ text }) => {
    const { probes, problems } = readDocuments([{ name: 'my.yaml', text }]);
    expect(formatProblems(problems)).toStrictEqual([]);
    expect(probes.map(({ metadata }) => metadata.name)).toStrictEqual(['my-minio']);
  });

  it('applies the defaults', () => {
    const { probes } = readDocuments([{ name: 'my.yaml', text: LEAST }]);
    expect(probes[0]).toMatchObject({
      metadata: { namespace: 'default' },
      spec: { schedule: { interval: '1m' }, bucket: { mode: 'Ephemeral' }, objects: [{ size: '4Ki' }] },
    });
  });

  it('gathers Secrets by namespace and name; stringData wins', () => {
    const { secrets, problems } = readDocuments([
      { name: 'my.yaml', text: LEAST },
      { name: 'secret.yaml', text: SECRET },
    ]);
    expect(problems).toStrictEqual([]);
    expect([...secrets]).toStrictEqual([
      [
        'default/my-minio-probe',
        { accessKey: new TextEncoder().encode('minio'), both: 'two', secretKey: 'hunter2' },
      ],
    ]);
  });

  it('takes one name in two namespaces, and one target name in two probes', () => {
    const other = LEAST.replace('name: my-minio\n', 'name: my-minio\n  namespace: other\n');
    expect(problemsOf(`${LEAST}---\n${other}`)).toStrictEqual([]);
  });
});

describe('wrong fields', () => {
  it.each([
    {
      name: 'a wrong unit',
      text: `${LEAST}  objects:\n    - size: 4KB\n`,
      line: 'my.yaml:11: spec.objects[0].size: "4KB" is not a size (did you mean 4Ki or 4k?); accepted: a number of bytes up to 1Gi with an optional suffix Ki, Mi, Gi, k, M, G, for example 4Ki',
    },
    {
      name: 'a number without a unit',
      text: `${LEAST}  schedule:\n    interval: 30\n`,
      line: 'my.yaml:11: spec.schedule.interval: 30 is a number (did you mean 30s?); accepted: a duration from 1s to 24h in h, m, s or ms, for example 30s or 1m30s',
    },
    {
      name: 'a map for a list',
      text: LEAST.replace(/targets:[^]*/, 'targets: {}\n'),
      line: 'my.yaml:6: spec.targets: is a map; accepted: a list of 1 to 64 targets, each with name, endpoint and credentialsSecretRef',
    },
    {
      name: 'a missing field',
      text: LEAST.replace('- name: my-minio\n      endpoint', '- endpoint'),
      line: 'my.yaml:7: spec.targets[0].name: is missing; accepted: at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends',
    },
    {
      name: 'no spec',
      text: LEAST.replace(/spec:[^]*/, ''),
      line: 'my.yaml:1: spec: is missing; accepted: a map with schedule, timeout, targets, bucket, objects, failureThreshold, suspend',
    },
    {
      name: 'no credentials',
      text: LEAST.replace(/ +credentialsSecretRef.*\n/, ''),
      line: 'my.yaml:7: spec.targets[0].credentialsSecretRef: is missing; accepted: a map with the name of a Secret that holds accessKey and secretKey, for example { name: my-minio-probe }',
    },
    {
      name: 'an unknown field',
      text: `${LEAST}  objcts: []\n`,
      line: 'my.yaml:10: spec.objcts: unknown field (did you mean objects?); accepted: schedule, timeout, targets, bucket, objects, failureThreshold, suspend',
    },
    {
      name: 'an endpoint without scheme',
      text: LEAST.replace('http://my-minio:9000', 'my-minio:9000'),
      line: `my.yaml:8: spec.targets[0].endpoint: "my-minio:9000" has no scheme (did you mean http://my-minio:9000?); accepted: ${ENDPOINT}`,
    },
    {
      name: 'an endpoint with a path',
      text: LEAST.replace('http://my-minio:9000', 'http://my-minio:9000/bucket'),
      line: `my.yaml:8: spec.targets[0].endpoint: "http://my-minio:9000/bucket" has a path; accepted: ${ENDPOINT}`,
    },
    {
      name: 'credentials in an endpoint',
      text: LEAST.replace('http://my-minio:9000', 'http://admin:hunter2@my-minio:9000'),
      line: `my.yaml:8: spec.targets[0].endpoint: the value (not shown) holds credentials, which belong in the Secret of credentialsSecretRef; accepted: ${ENDPOINT}`,
    },
    {
      name: 'Existing without name',
      text: `${LEAST}  bucket: { mode: Existing }\n`,
      line: 'my.yaml:10: spec.bucket.name: is missing, and mode Existing needs it; accepted: the name of a bucket that is there',
    },
    {
      name: 'Ephemeral with name',
      text: `${LEAST}  bucket: { name: canary }\n`,
      line: 'my.yaml:10: spec.bucket.name: "canary" does not go with mode Ephemeral, whose buckets are named by the probe; accepted: no name, or mode: Existing',
    },
    {
      name: 'a timeout that is not below the interval',
      text: `${LEAST}  schedule: { interval: 30s }\n  timeout: 30s\n`,
      line: 'my.yaml:11: spec.timeout: "30s" is not less than schedule.interval; accepted: a timeout below the interval (1m when absent), so that a run ends before the next one starts',
    },
    {
      name: 'both interval and cron',
      text: `${LEAST}  schedule:\n    interval: 30s\n    cron: "* * * * *"\n`,
      line: 'my.yaml:10: spec.schedule: needs exactly one of interval and cron; accepted: { interval: 30s }, or { cron: "*/5 * * * *", timeZone: Europe/Berlin }',
    },
    {
      name: 'two targets of the same name',
      text: `${LEAST}    - name: my-minio\n      endpoint: http://other\n      credentialsSecretRef: { name: other }\n`,
      line: 'my.yaml:10: spec.targets[1].name: "my-minio" is the name of an earlier target too; accepted: names that are unique in the probe',
    },
    {
      name: 'a field behind an alias',
      text: `${LEAST}    - &wrong { name: A, endpoint: http://other, credentialsSecretRef: { name: other } }\n  objects: *wrong\n`,
      line: 'my.yaml:10: spec.targets[1].name: "A" is not a target name; accepted: at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends',
    },
    {
      name: 'an item of a List',
      text: `apiVersion: v1\nkind: List\nitems:\n- apiVersion: storageprobe.dev/v1alpha1\n  kind: StorageProbe\n  metadata: { name: a }\n  spec: { targets: [] }\n`,
      line: 'my.yaml:7: items[0].spec.targets: has 0 entries; accepted: a list of 1 to 64 targets, each with name, endpoint and credentialsSecretRef',
    },
  ])('$name', ({ text, line }) => {
    expect(problemsOf(text)[0]).toBe(line);
  });

  it('are all told, in the order of the file', () => {
    const text = `${LEAST}  suspend: 1\n`.replace('name: my-minio\n', 'name: My\n');
    expect(problemsOf(text).map((line) => line.replace(/;.*/, ''))).toStrictEqual([
      'my.yaml:4: metadata.name: "My" is not a name',
      'my.yaml:10: spec.suspend: 1 is a number',
    ]);
  });

  it('are counted where they are too many', () => {
    const text = LEAST + Array.from({ length: 25 }, (_, index) => `x${index}: 1\n`).join('');
    const lines = problemsOf(text);
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toBe('and 5 more');
  });
});

describe('wrong documents', () => {
  const accepted = 'accepted: StorageProbe and Secret documents, in YAML or JSON';

  it.each([
    { name: 'an empty file', text: '', line: `my.yaml: is empty; ${accepted}` },
    { name: 'only comments', text: '# nothing\n---\n', line: `my.yaml: is empty; ${accepted}` },
    {
      name: 'a text that is too large',
      text: `${LEAST}#${' '.repeat(MAX_FILE_BYTES)}`,
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
      line: `my.yaml:1: is not a resource: a map with apiVersion and kind; ${accepted}`,
    },
    {
      name: 'a list',
      text: '\n- a\n',
      line: `my.yaml:2: is not a resource: a map with apiVersion and kind; ${accepted}`,
    },
    {
      name: 'a misspelt kind',
      text: LEAST.replace('StorageProbe', 'StorageProbes'),
      line: 'my.yaml:2: kind: "StorageProbes" is not read here (did you mean StorageProbe?); accepted: StorageProbe, Secret, or a List of them',
    },
    {
      name: 'another kind',
      text: 'apiVersion: apps/v1\nkind: Deployment\n',
      line: 'my.yaml:2: kind: "Deployment" is not read here; accepted: StorageProbe, Secret, or a List of them',
    },
    {
      name: 'no kind',
      text: 'apiVersion: v1\n',
      line: 'my.yaml:1: kind: is missing; accepted: StorageProbe, Secret, or a List of them',
    },
    {
      name: 'a wrong apiVersion',
      text: LEAST.replace(/apiVersion.*/, 'apiVersion: v1'),
      line: 'my.yaml:1: apiVersion: "v1" is not that of StorageProbe; accepted: storageprobe.dev/v1alpha1',
    },
    {
      name: 'no apiVersion',
      text: 'kind: StorageProbe\n',
      line: 'my.yaml:1: apiVersion: is missing; accepted: storageprobe.dev/v1alpha1',
    },
    {
      name: 'a List in a List',
      text: 'apiVersion: v1\nkind: List\nitems: [{ apiVersion: v1, kind: List }]\n',
      line: 'my.yaml:3: items[0].kind: "List" is not read here; accepted: StorageProbe or Secret',
    },
    {
      name: 'a List without items',
      text: 'apiVersion: v1\nkind: List\n',
      line: 'my.yaml:1: items: is missing; accepted: a list of StorageProbe and Secret',
    },
    {
      name: 'two probes of one name',
      text: `${LEAST}---\n${LEAST}`,
      line: 'my.yaml:14: metadata.name: is that of the StorageProbe at my.yaml:4, in the same namespace; accepted: one StorageProbe of a name in a namespace',
    },
  ])('$name', ({ text, line }) => {
    expect(problemsOf(text)).toStrictEqual([line]);
  });

  it('names both files of two probes of one name', () => {
    const { problems } = readDocuments([
      { name: 'a.yaml', text: DESIGN },
      { name: 'b.yaml', text: DESIGN },
    ]);
    expect(formatProblems(problems)).toStrictEqual([
      'b.yaml:3: metadata.name: is that of the StorageProbe at a.yaml:3, in the same namespace; accepted: one StorageProbe of a name in a namespace',
    ]);
  });

  it('wants a StorageProbe', () => {
    expect(problemsOf(SECRET)).toStrictEqual(['no StorageProbe found; accepted: at least one StorageProbe']);
  });
});

describe('wrong YAML', () => {
  it.each([
    {
      name: 'a tab',
      text: 'spec:\n\ttimeout: 1s\n',
      line: 'my.yaml:2:1: is not valid YAML: a tab stands in the indentation; YAML takes only spaces there',
    },
    {
      name: 'a field twice',
      text: 'kind: a\nspec: {}\nkind: b\n',
      line: 'my.yaml:3:1: field "kind" stands twice in one map',
    },
    {
      name: 'crooked indentation',
      text: 'a:\n  b: 1\n c: 2\n',
      line: 'my.yaml:3:1: is not valid YAML: the indentation does not match the lines around it',
    },
    {
      name: 'no colon',
      text: 'a: 1\nfoo\nb: 2\n',
      line: 'my.yaml:2:1: is not valid YAML: a field has no colon after its name',
    },
    {
      name: 'an open quote',
      text: 'a: "hunter2\n',
      line: 'my.yaml:2:1: is not valid YAML: a colon, comma, quote or bracket is missing',
    },
    {
      name: 'text after a quoted text',
      text: 'a: "x" hunter2\n',
      line: 'my.yaml:1:8: is not valid YAML: something stands where it does not belong',
    },
    {
      name: 'a field name that is a list',
      text: '? [a]\n: b\n',
      line: 'my.yaml:1:3: is not valid YAML: the name of a field is not text',
    },
    {
      name: 'a tag',
      text: 'a: !vault hunter2\n',
      line: 'my.yaml:1:4: is not valid YAML: a tag (!) is not accepted',
    },
    {
      name: 'an alias of nothing',
      text: 'a: *b\n',
      line: 'my.yaml:1:4: alias (*) without an anchor (&) before it',
    },
    {
      name: 'an alias in itself',
      text: 'a: &a [*a, 1]\n',
      line: 'my.yaml:1:8: alias (*) inside of what it repeats',
    },
    { name: 'a bomb of aliases', text: bomb(), line: 'my.yaml:1:1: repeats itself too often by aliases (*)' },
    {
      name: 'very deep nesting',
      text: '['.repeat(100_000),
      line: expect.stringMatching(/^my\.yaml:1:\d+: is not valid YAML: it is nested too deeply$/),
    },
  ])('$name', ({ text, line }) => {
    expect(problemsOf(text)).toStrictEqual([line]);
  });

  it('is told beside what is wrong before it', () => {
    const text = `apiVersion: v1\nkind: Pod\n---\na: "x" y\n---\nkind: Pod\n`;
    expect(problemsOf(text)).toStrictEqual([
      'my.yaml:2: kind: "Pod" is not read here; accepted: StorageProbe, Secret, or a List of them',
      'my.yaml:4:8: is not valid YAML: something stands where it does not belong',
    ]);
  });
});

describe('wrong Secrets, whose values are never shown', () => {
  it.each([
    {
      name: 'no base64',
      fields: 'data: { accessKey: hunter2! }',
      line: 'data.accessKey: the value (not shown) is not base64; accepted: base64 with its padding; plain text goes under stringData',
    },
    {
      name: 'base64 without padding',
      fields: 'data: { accessKey: aHVudGVyMg }',
      line: 'data.accessKey: the value (not shown) is not base64; accepted: base64 with its padding; plain text goes under stringData',
    },
    {
      name: 'a number',
      fields: 'stringData: { secretKey: 123456 }',
      line: 'stringData.secretKey: the value (not shown) is a number (put it in quotes); accepted: text; in quotes if it looks like a number',
    },
    {
      name: 'a misspelt field',
      fields: 'stringdata: { secretKey: hunter2 }',
      line: 'stringdata: unknown field (did you mean stringData?); accepted: apiVersion, kind, metadata, type, immutable, data, stringData',
    },
    {
      name: 'text for a map',
      fields: 'data: hunter2',
      line: 'data: the value (not shown) is text; accepted: a map of base64 texts',
    },
    {
      name: 'another type',
      fields: 'immutable: hunter2',
      line: 'immutable: the value (not shown) is text; accepted: true or false',
    },
  ])('$name', ({ fields, line }) => {
    const text = `apiVersion: v1\nkind: Secret\nmetadata: { name: a }\n${fields}\n`;
    expect(problemsOf(text)).toStrictEqual([`my.yaml:4: ${line}`]);
  });

  it('a wrong apiVersion', () => {
    expect(problemsOf('apiVersion: hunter2\nkind: Secret\n')).toStrictEqual([
      'my.yaml:1: apiVersion: is not that of Secret; accepted: v1',
    ]);
  });

  it('two of one name', () => {
    expect(problemsOf(`${LEAST}---\n${SECRET}---\n${SECRET}`)).toStrictEqual([
      'my.yaml:19: metadata.name: is that of the Secret at my.yaml:13, in the same namespace; accepted: one Secret of a name in a namespace',
    ]);
  });
});

/** Nine lists, each nine times the one before. */
function bomb(): string {
  const names = 'abcdefghi'.split('');
  const line = (name: string, index: number): string =>
    `${name}: &${name} [${Array.from({ length: 9 }, () => (index === 0 ? 'x' : `*${names[index - 1]}`)).join(', ')}]\n`;
  return names.map(line).join('');
}
