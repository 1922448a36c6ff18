import * as fc from 'fast-check';

/** A valid or invalid StorageProbe as a user might submit it, without `apiVersion` and `kind`. */
export type ProbeInput = { readonly metadata: unknown; readonly spec?: unknown };

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Texts just inside and just outside the limits of a field, by the field's name or type. */
const BOUNDARY_TEXTS: Readonly<Record<string, readonly string[]>> = {
  duration: [
    ...`1s 1.0s 1000ms 0999ms 999ms 0.999s 1.001s 0.0166m 0.017m 24h 23h59m60s 24h1ms 24.001h 86400000ms
      86400001ms 59s1000ms 1ms1h 99999999h 2562048h 9e9h 100ms 99ms 99.5ms 1h 1h0m0.001s 0s 0 30 +30s -30s 1d .5s 5.s
      1.0001s 1µs 1μs 60000000us 1S 1m30s 30s １s s ms 1ss`.split(/\s+/),
    '30 s',
    '1s ',
    ' 1s',
    '1s\n',
    `${'9'.repeat(31)}h`,
    `${'0'.repeat(30)}1s`,
    `${'0'.repeat(31)}1s`,
  ],
  size: [
    ...`0 00 0Ei 1 1024 4Ki 1Mi 1Gi 1024Mi 1025Mi 1073741824 1073741825 1073M 1074M 1G 2G 1Ti 1E 16E 1.5Ki 1.0
      .5 1e3 1E3 1e 1m 100n 1K 1ki 4KB -1 +1 0x10 9223372036854775808 １`.split(/\s+/),
    '4 Ki',
    '4Ki\n',
    '9'.repeat(32),
    `${'0'.repeat(31)}1`,
    `${'0'.repeat(32)}1`,
  ],
  endpoint: [
    ...`http://a https://a/ HTTP://a http://a// http:///a http:/a //a a:9000 http:// http://:1 http://a:0
      http://a:1 http://a:09 http://a:65535 http://a:65536 http://a:99999 http://a: http://a:100000 http://a/b
      http://a?b http://a#b http://u:p@a http://ä http://1.2.3.4 http://1.2.3 http://1.2.3.4.5 http://256.1.1.1
      http://01.2.3.4 http://08.2.3.4 http://0x7f000001 http://a.0x1F:9000/ http://0x http://0xg http://00x1 http://1.0
      http://a.1 http://a.1b http://a..b http://.a http://a. http://_a http://- http://a_b.c-d:1 http://%61
      http://[::1] http://[::]:9 http://[1:2:3:4:5:6:7:8]/ http://[1:2:3:4:5:6:7::] http://[1::8] http://[::1
      http://[1:2:3:4:5:6:7:8:9] http://[1:2:3:4:5:6:7:8::] http://[::1::] http://[12345::] http://[g::] http://[]
      http://a./ http://a.:9 http://a./b http://a.. http://1.2.3.4. http://[::1]. http://0x7f. http://0x7f/b http://a/b/
      http://a/b/c http://a//b http://a/./b http://a/../b http://a/... http://a/.b http://a/b. http://a/~_-.b http://a/b%20c
      http://a/b;c http://a/b@c http://a/ä http://a:9/b http://a:0/b http://a:9b/c http://a.0x1/0x1 http://a/0x1
      http://[::ffff:1.2.3.4] http://[fe80::1%25eth0] http://::1 http://xn--mller-kva.de http://xn--a`.split(
      /\s+/,
    ),
    'http://a b',
    'http://a\n',
    `http://${'a'.repeat(293)}`,
    `http://${'a'.repeat(294)}`,
  ],
  serverName: [
    ...`a a.b A_b.c-d 10.0.0.1 1.2.3 a.1 a.0x1 0x1 0xg a.0xg ::1 [::1] a: a/ a. .a a..b -a _ xn--a *.a ä`.split(
      /\s+/,
    ),
    'a b',
    'a\n',
    'a'.repeat(253),
    'a'.repeat(254),
  ],
  roleArn: [
    ...`arn:aws:iam::111122223333:role/probe arn:minio:iam:::role/idmp-a_b arn:aws-cn:iam::1:role/a/b arn:aws:iam::1:role/
      arn:aws:iam::1:user/a arn:aws:iam::a:role/a arn::iam::1:role/a role/a arn:aws:iam::1:role/a:b`.split(
      /\s+/,
    ),
    'arn:aws:iam::1:role/a b',
    'arn:aws:iam::1:role/a\n',
    `arn:aws:iam::1:role/${'a'.repeat(2_028)}`,
    `arn:aws:iam::1:role/${'a'.repeat(2_029)}`,
  ],
  kmsKeyId: [
    'a',
    'arn:aws:kms:us-east-1:1:key/1-2',
    'alias/a',
    'a b',
    'a\n',
    'ä',
    '',
    'k'.repeat(2_048),
    'k'.repeat(2_049),
  ],
  algorithm: ['AES256', 'aws:kms', 'aws:kms:dsse', 'aes256', ''],
  addressing: ['Path', 'VirtualHost', 'path', 'Virtual', ''],
  timeZone: [
    ...`UTC Etc/UTC Europe/Berlin Europe/Kyiv Asia/Calcutta America/Argentina/Buenos_Aires Etc/GMT+5 GMT+0
      EST5EDT W-SU NZ-CHAT Local Factory posixrules localtime posix/UTC Z +02:00 utc europe/berlin Europe/Berln Europe
      Europe/ /UTC ../etc/passwd`.split(/\s+/),
    'UTC ',
    'UTC\n',
    'UTC Cuba',
    ' ',
  ],
  cron: [
    ...(
      `* * * * *|*/5 * * * *|0 4 1-7 JAN,JUL MON-FRI|59 23 31 12 7|60 * * * *|* 24 * * *|* * 0 * *|* * 32 * *|` +
      `* * * 13 *|* * * 0 *|* * * * 8|*/0 * * * *|*/60 * * * *|5-1 * * * *|1-5/2 * * * *|5/15 * * * *|0 0 30 2 *|` +
      `0 0 31 FEB *|@hourly|* * * *|* * * * * *|* * * * ?|* * L * *|* * * * 5L|* * * * 1#2|* * W * *|0  4 * * *|` +
      ` 0 4 * * *|0 4 * * * |0\t4 * * *|0 4 * jan mon|0 4 * Jan Mon|0 4 * foo *|* * * JAN-DEC *|0 4 * * SUN-SAT|` +
      `0 4 * * SAT-SUN|1,2,3 * * * *|1,,2 * * * *|,1 * * * *|1- * * * *|00 04 * * *|007 * * * *|*,1 * * * *|` +
      `** * * * *|-1 * * * *|1.5 * * * *|* * 1,15 * 1|0-59/59 0 1 1 0|30-10 * * * *|9-09 * * * *|0 0 31 apr *|0 0 * * FRI-MON|0 0 * * mon-sun|0 0 * nov-Feb *|0 0 30,31 2 *|0 0 30 2 1|* * * * *\n`
    ).split('|'),
    `${'1,'.repeat(45)}1 * * * *`,
    `${'1,'.repeat(46)}1 * * * *`,
  ],
  name: [
    ...'a a-b a--b 0 -a a- A a.b a..b a.b-c a_b ab abc ab. 1.2.3.4 1.2.3 999.1.1.1 ä xn--a'.split(/\s+/),
    'a b',
    'a\n',
    'a'.repeat(63),
    'a'.repeat(64),
    'a'.repeat(253),
    'a'.repeat(254),
  ],
  key: ['ca.crt', '..', '.', '_', 'a/b', 'a b', 'CA', 'k'.repeat(253), 'k'.repeat(254), 'ca.crt\n'],
  region: ['us-east-1', 'eu_1', 'X', '-a', 'a-', 'a.b', 'a b', 'r'.repeat(63), 'r'.repeat(64), 'us-east-1\n'],
  mode: ['Ephemeral', 'Existing', 'ephemeral', 'Existing '],
};

/** Types of fields whose name is not a key of {@link BOUNDARY_TEXTS}. */
const FIELD_TYPES: Readonly<Record<string, string>> = {
  interval: 'duration',
  startingDeadline: 'duration',
  timeout: 'duration',
  url: 'endpoint',
  stsEndpoint: 'endpoint',
  accessKey: 'key',
  secretKey: 'key',
  sessionToken: 'key',
};

/** Random texts that are almost valid. */
const ALMOST_VALID: Readonly<Record<string, fc.Arbitrary<string>>> = {
  duration: textOf('0123456789.hms'),
  size: textOf('0123456789.KMGTPEikem'),
  endpoint: textOf('htp:/[]0123456789abfx.-_'),
  cron: almostValidCron(),
};

// oxfmt-ignore
const ARBITRARY_VALUES: readonly Json[] = [
  null, true, false, 0, 1, 2, 100, 101, -1, 1.5, 2 ** 31 - 1, 2 ** 31, 2 ** 53, 1e21, 1e-7,
  '', ' ', 'true', '2', 'null', '\u0000', '\u{1F600}'.repeat(8), '\uD800', 'é', 'e\u0301', 'x'.repeat(5_000),
  [], [null], [[]], {}, { name: null }, { unknown: 1 }, { name: 'abc' }, { '': 1 },
];

/** Field names of each object, by the name of the field that contains it or a list of it. */
const FIELDS_IN: Readonly<Record<string, readonly string[]>> = {
  spec: ['schedule', 'timeout', 'targets', 'bucket', 'objects', 'failureThreshold', 'suspend'],
  schedule: ['interval', 'cron', 'timeZone', 'startingDeadline'],
  targets: [
    'name',
    'endpoint',
    'addressing',
    'region',
    'credentialsSecretRef',
    'webIdentity',
    'tls',
    'proxy',
    'encryption',
  ],
  credentialsSecretRef: ['name', 'keys'],
  keys: ['accessKey', 'secretKey', 'sessionToken'],
  webIdentity: ['roleArn', 'stsEndpoint'],
  tls: ['caSecretRef', 'caConfigMapRef', 'clientCertificateSecretRef', 'serverName'],
  caSecretRef: ['name', 'key'],
  caConfigMapRef: ['name', 'key'],
  clientCertificateSecretRef: ['name'],
  proxy: ['url', 'credentialsSecretRef'],
  encryption: ['algorithm', 'kmsKeyId'],
  bucket: ['mode', 'name'],
};
const FIELDS = [...Object.values(FIELDS_IN).flat(), 'size', 'unknown', 'Suspend', 'time-zone', 'constructor'];

const TARGET = {
  name: 'a',
  endpoint: 'https://a',
  region: 'x',
  credentialsSecretRef: { name: 'a', keys: { accessKey: 'a', secretKey: 'a', sessionToken: 'a' } },
  tls: {
    caSecretRef: { name: 'a', key: 'a' },
    clientCertificateSecretRef: { name: 'a' },
    serverName: 'a',
  },
  proxy: { url: 'http://a', credentialsSecretRef: { name: 'a' } },
  encryption: { algorithm: 'aws:kms', kmsKeyId: 'a' },
};

const WEB_IDENTITY_TARGET = {
  name: 'a',
  endpoint: 'http://a',
  addressing: 'VirtualHost',
  region: 'x',
  webIdentity: { roleArn: 'arn:aws:iam::1:role/a', stsEndpoint: 'http://a' },
  tls: { caConfigMapRef: { name: 'a', key: 'a' } },
};

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
const subdomain = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'));
const optional = { requiredKeys: [] };

const secretKey = fc.constantFrom('ca.crt', 'CA_1', '.');
const secretRef = fc.record({ name: subdomain });
const origin = fc
  .tuple(
    fc.constantFrom('http', 'https'),
    subdomain.filter(endsInLetter),
    fc.constantFrom('', '.', ':1', '/'),
  )
  .map(([scheme, host, end]) => `${scheme}://${host}${end}`);

const endpoint = fc
  .tuple(
    fc.constantFrom('http', 'https'),
    fc.oneof(
      subdomain.filter(endsInLetter),
      subdomain.filter(endsInLetter).map((name) => `${name}.`),
      fc.ipV4(),
      fc
        .ipV6()
        .filter(hasNoIpv4Suffix)
        .map((ip) => `[${ip}]`),
    ),
    fc.option(fc.integer({ min: 1, max: 65_535 })),
    fc.constantFrom('', '', '/', '/storage/v1/s3', '/a/.b.c/'),
  )
  .map(([scheme, host, port, end]) => `${scheme}://${host}${port === null ? '' : `:${port}`}${end}`);

const ca = fc.oneof(
  fc.record(
    { caSecretRef: fc.record({ name: subdomain, key: secretKey }, { requiredKeys: ['name'] }) },
    optional,
  ),
  fc.record({ caConfigMapRef: fc.record({ name: subdomain, key: secretKey }, { requiredKeys: ['name'] }) }),
);
const clientTls = fc.record(
  { clientCertificateSecretRef: secretRef, serverName: subdomain.filter(endsInLetter) },
  optional,
);

const credentials = fc.oneof(
  fc.record({
    credentialsSecretRef: fc.record(
      {
        name: subdomain,
        keys: fc.record(
          { accessKey: secretKey, secretKey, sessionToken: secretKey },
          { requiredKeys: ['accessKey', 'secretKey'] },
        ),
      },
      { requiredKeys: ['name'] },
    ),
  }),
  fc.record({
    webIdentity: fc.record(
      { roleArn: fc.constantFrom('arn:aws:iam::1:role/a', 'arn:minio:iam:::role/a-b'), stsEndpoint: origin },
      optional,
    ),
  }),
);

const target = fc
  .tuple(
    fc.record(
      {
        name: label,
        endpoint,
        addressing: fc.constantFrom('Path', 'VirtualHost'),
        region: fc.constantFrom('us-east-1', 'eu_central-1', 'X'),
        proxy: fc.record({ url: origin, credentialsSecretRef: secretRef }, { requiredKeys: ['url'] }),
        encryption: fc.oneof(
          fc.constant({ algorithm: 'AES256' }),
          fc.record(
            { algorithm: fc.constant('aws:kms'), kmsKeyId: fc.constantFrom('a', 'alias/b') },
            { requiredKeys: ['algorithm'] },
          ),
        ),
      },
      { requiredKeys: ['name', 'endpoint'] },
    ),
    credentials,
    fc.option(fc.tuple(ca, clientTls)),
  )
  .map(([fields, from, tls]) => {
    const { addressing, ...rest } = fields;
    const isAddress = /\/\/(\[|[0-9.]+(:|\/|$))/.test(rest.endpoint);
    const usesTls = rest.endpoint.startsWith('https');
    return {
      ...rest,
      ...from,
      ...(addressing !== undefined && { addressing: isAddress ? 'Path' : addressing }),
      ...(tls !== null && { tls: { ...tls[0], ...(usesTls ? tls[1] : {}) } }),
    };
  });

const schedule = fc.oneof(
  fc.record(
    {
      interval: fc.oneof(
        fc.integer({ min: 61, max: 86_400 }).map((seconds) => `${seconds}s`),
        fc.constantFrom('1m30s', '1.5h', '24h', '61000ms'),
      ),
      startingDeadline: fc.constantFrom('1s', '24h', '90s'),
    },
    { requiredKeys: ['interval'] },
  ),
  fc.record(
    {
      cron: fc.constantFrom('*/5 * * * *', '0 4 1-7 1,7 1-5', '59 23 31 12 0', '1,2,3 * * * *'),
      timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'Etc/GMT+5', 'America/Indiana/Knox'),
    },
    { requiredKeys: ['cron'] },
  ),
);

const valid = fc.record({
  metadata: fc.record({ name: label }),
  spec: fc.record(
    {
      schedule,
      timeout: fc.oneof(
        fc.integer({ min: 100, max: 60_000 }).map((ms) => `${ms}ms`),
        fc.constantFrom('0.5s', '1m', '59.999s'),
      ),
      targets: fc.uniqueArray(target, { minLength: 1, maxLength: 3, selector: ({ name }) => name }),
      bucket: fc.oneof(
        fc.record({ mode: fc.constant('Ephemeral') }, optional),
        fc.record({
          mode: fc.constant('Existing'),
          name: subdomain.filter((name) => name.length >= 3 && name.length <= 63 && /[a-z]/.test(name)),
        }),
      ),
      objects: fc.array(
        fc.record({
          size: fc.oneof(
            fc.integer({ min: 0, max: 2 ** 30 }).map(String),
            fc.constantFrom('4Ki', '1Mi', '64M', '1Gi'),
          ),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      failureThreshold: fc.integer({ min: 1, max: 100 }),
      suspend: fc.boolean(),
    },
    { requiredKeys: ['targets'] },
  ),
});

/** Valid except for one or two changes, which may be valid by chance. */
const mutated = fc.gen().map((choose) => {
  const probe = structuredClone(choose(() => valid)) as Json;
  for (let remaining = choose(fc.integer, { min: 1, max: 2 }); remaining > 0; remaining--)
    mutate(probe, choose);
  return probe as unknown as ProbeInput;
});

const random = fc.record(
  {
    metadata: fc.record({ name: label }),
    spec: fc.dictionary(
      fc.constantFrom(...FIELDS),
      fc.oneof(fc.jsonValue(), fc.constantFrom(...ARBITRARY_VALUES)),
    ),
  },
  { requiredKeys: ['metadata'] },
);

/** About half of the inputs are valid. Most invalid ones are almost valid. */
export const probeInputs: fc.Arbitrary<ProbeInput> = fc.oneof(
  { weight: 9, arbitrary: valid },
  { weight: 14, arbitrary: mutated },
  { weight: 1, arbitrary: random },
);

/** A probe for each of {@link BOUNDARY_SPECS}, then one per field and boundary text, valid in all other fields. */
export function* boundaryInputs(): Generator<ProbeInput> {
  for (const spec of BOUNDARY_SPECS) yield probeWith(spec);
  const byInterval = { schedule: { interval: '1h', startingDeadline: '1m' } };
  const byCron = { schedule: { cron: '* * * * *', timeZone: 'UTC' }, targets: [WEB_IDENTITY_TARGET] };
  for (const probe of [probeWith(byInterval), probeWith(byCron)]) {
    for (const [index, { key }] of [...placesIn(probe)].entries()) {
      for (const text of BOUNDARY_TEXTS[FIELD_TYPES[key] ?? key] ?? []) {
        const copy = structuredClone(probe);
        const parent = [...placesIn(copy)][index]?.parent ?? {};
        Reflect.set(parent, key, text);
        yield copy;
      }
    }
  }
}

/** Specs near the limits of lists, numbers and rules that involve several fields. */
const BOUNDARY_SPECS: readonly { [key: string]: Json }[] = [
  ...[{}, { interval: '1h' }, { cron: '* * * * *' }, { interval: '1h', cron: '* * * * *' }].flatMap(
    (trigger) => [
      { schedule: trigger },
      { schedule: { ...trigger, timeZone: 'UTC' } },
      { schedule: { ...trigger, startingDeadline: '1m' } },
    ],
  ),
  ...[{}, { mode: 'Ephemeral' }, { mode: 'Existing' }, { mode: null }].flatMap((mode) => [
    { bucket: mode },
    { bucket: { ...mode, name: 'abc' } },
    { bucket: { ...mode, name: null } },
  ]),
  ...[0, 1, 64, 65].map((length) => ({
    targets: Array.from({ length }, (_, index) => ({ ...TARGET, name: `a${index}` })),
  })),
  { targets: [TARGET, { ...TARGET, endpoint: 'https://b' }] },
  ...variantsOf('credentialsSecretRef', [undefined, null, { name: 'a' }]).flatMap((variant) =>
    [undefined, null, {}, { roleArn: null }].map((webIdentity) => ({
      targets: [{ ...variant, ...(webIdentity !== undefined && { webIdentity }) }],
    })),
  ),
  ...variantsOf('endpoint', [
    'http://a',
    'https://a',
    'http://1.2.3.4',
    'https://[::1]:9/b',
    'http://1.2.3.4a',
  ]).flatMap((variant) => [
    { targets: [{ ...variant, addressing: 'VirtualHost' }] },
    { targets: [{ ...variant, tls: { serverName: 'a' } }] },
    { targets: [{ ...variant, tls: { clientCertificateSecretRef: { name: 'a' } } }] },
    { targets: [{ ...variant, tls: { caSecretRef: { name: 'a' } } }] },
    { targets: [{ ...variant, tls: { caConfigMapRef: { name: 'a' }, caSecretRef: { name: 'a' } } }] },
    { targets: [{ ...variant, tls: null, addressing: null }] },
  ]),
  ...['AES256', 'aws:kms', null].flatMap((algorithm) => [
    { targets: [{ ...TARGET, encryption: { algorithm } }] },
    { targets: [{ ...TARGET, encryption: { algorithm, kmsKeyId: 'a' } }] },
    { targets: [{ ...TARGET, encryption: { algorithm, kmsKeyId: null } }] },
  ]),
  ...[0, 1, 8, 9].map((length) => ({ objects: Array.from({ length }, () => ({ size: '1' })) })),
  ...[0, 1, 100, 101, 1.5, 2 ** 31, 2 ** 63].map((failureThreshold) => ({ failureThreshold })),
  ...['59.999s', '1m', '61s'].flatMap((timeout) => [{ timeout }, { timeout, schedule: { interval: '1m' } }]),
];

/** Targets with each of the values of a field. Undefined: without the field. */
function variantsOf(field: string, values: readonly (Json | undefined)[]): { [key: string]: Json }[] {
  const { [field]: _, ...rest } = TARGET as { [key: string]: Json };
  return values.map((value) => ({ ...rest, ...(value !== undefined && { [field]: value }) }));
}

function probeWith(spec: { [key: string]: Json }): { metadata: Json; spec: Json } {
  const bucket = { mode: 'Existing', name: 'abc' };
  const common = { timeout: '500ms', targets: [TARGET], bucket, objects: [{ size: '1' }] };
  return { metadata: { name: 'a' }, spec: { ...common, ...spec } };
}

type Choose = fc.GeneratorValue;

function mutate(root: Json, choose: Choose): void {
  const places = [...placesIn(root)];
  const { parent, key, node, field } = choose(() => fc.constantFrom(...places));
  const operation = choose(() => fc.constantFrom('replace', 'replace', 'replace', 'add', 'remove', 'repeat'));
  if (operation === 'remove' && Array.isArray(parent)) parent.splice(Number(key), 1);
  else if (operation === 'remove') Reflect.deleteProperty(parent, key);
  else if (operation === 'repeat' && Array.isArray(parent)) parent.push(structuredClone(node));
  else if (operation === 'add' && isObject(node)) {
    const isKnown = choose(fc.nat, { max: 3 }) > 0;
    const added = choose(() => fc.constantFrom(...((isKnown ? FIELDS_IN[field] : undefined) ?? FIELDS)));
    node[added] = valueFor(added, choose);
  } else Reflect.set(parent, key, valueFor(key, choose));
}

interface Place {
  readonly parent: Json[] | { [key: string]: Json };
  readonly key: string;
  readonly node: Json;
  /** The field's name. For a list item, the name of the list. */
  readonly field: string;
}

/** All members of all objects and lists, except `metadata` itself. */
function* placesIn(parent: Json, parentField = ''): Generator<Place> {
  if (typeof parent !== 'object' || parent === null) return;
  for (const [key, node] of Object.entries(parent)) {
    const field = Array.isArray(parent) ? parentField : key;
    if (key !== 'metadata') yield { parent, key, node, field };
    yield* placesIn(node, field);
  }
}

function valueFor(field: string, choose: Choose): Json {
  const type = FIELD_TYPES[field] ?? field;
  const almostValid = ALMOST_VALID[type];
  const roll = choose(fc.nat, { max: 9 });
  if (roll < 3 && almostValid !== undefined) return choose(() => almostValid);
  const texts = roll < 8 ? BOUNDARY_TEXTS[type] : undefined;
  return structuredClone(choose(() => fc.constantFrom(...(texts ?? ARBITRARY_VALUES))));
}

function textOf(letters: string): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...letters.split('')), maxLength: 12 });
}

function almostValidCron(): fc.Arbitrary<string> {
  const value = fc.oneof(
    fc.integer({ min: 0, max: 61 }).map(String),
    fc.constantFrom('00', '07', '30', '31', '2', 'JAN', 'feb', 'Dec', 'SUN', 'mon', 'SAT'),
  );
  const item = fc.oneof(
    fc.constant('*'),
    value,
    fc.tuple(value, value).map((range) => range.join('-')),
    fc.tuple(fc.constantFrom('*', '1-9', '3-2'), value).map((step) => step.join('/')),
  );
  const field = fc.array(item, { minLength: 1, maxLength: 2 }).map((items) => items.join(','));
  const isWild = fc.array(fc.boolean(), { minLength: 5, maxLength: 5 });
  return fc
    .tuple(fc.array(field, { minLength: 5, maxLength: 5 }), isWild)
    .map(([fields, wild]) => fields.map((text, index) => (wild[index] ? '*' : text)).join(' '));
}

function isObject(node: Json): node is { [key: string]: Json } {
  return typeof node === 'object' && node !== null && !Array.isArray(node);
}

function endsInLetter(name: string): boolean {
  return /[a-z]$/.test(name);
}

function hasNoIpv4Suffix(ip: string): boolean {
  return !ip.includes('.');
}
