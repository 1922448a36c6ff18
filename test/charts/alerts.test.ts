import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

import { chartPath } from '../../deploy/local/helm.ts';
import { ManualClock } from '../../src/clock/manual-clock.ts';
import { ProberMetrics } from '../../src/telemetry/metrics.ts';
import { checkRules, renderRules, type RuleGroups, type Series, testRules } from './promtool.ts';

interface Case {
  readonly name: string;
  readonly series: readonly Series[];
  /** What fires at each time: the alerts' names, of which each is there once. */
  readonly fires: Readonly<Record<string, readonly string[]>>;
  /** Between two scrapes, and between two evaluations. Default `30s`. */
  readonly interval?: string;
}

const RELEASE = { release: 'storage-probe', namespace: 'storage-probe' };
const ROOT = new URL('../../', import.meta.url);
const DAY = 86_400;

let rules: RuleGroups;

beforeAll(async () => {
  rules = await renderRules({}, RELEASE);
});

/** A series of the target, as the leader tells it. */
function target(name: string, values: string, labels: object = {}): Series {
  const ref = { namespace: 'storage', probe: 'my-minio', target: 'minio-1', pod: 'a', ...labels };
  return { series: `storage_probe_${name}${labelsOf(ref)}`, values };
}

/** A series of a replica itself. */
function replica(name: string, values: string, labels: object = {}): Series {
  return { series: `${name}${labelsOf({ namespace: 'storage-probe', pod: 'a', ...labels })}`, values };
}

function leads(values: string, labels: object = {}): Series {
  return replica('leader_election_master_status', values, { name: 'storage-probe', ...labels });
}

function labelsOf(labels: object): string {
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(',')}}`;
}

interface Scheduled {
  /** Values of the gauges, by default none: not yet run, nothing planned. */
  readonly lastRun?: string;
  readonly nextRun?: string;
  /** Default: healthy. */
  readonly healthy?: string;
  readonly labels?: object;
}

/** A target with an interval in seconds. */
function scheduled(
  interval: number,
  { lastRun = '_', nextRun = '_', healthy = '1x2000', labels }: Scheduled,
): Series[] {
  return [
    target('schedule_interval_seconds', `${interval}x2000`, labels),
    target('last_run_timestamp_seconds', lastRun, labels),
    target('next_run_timestamp_seconds', nextRun, labels),
    target('healthy', healthy, labels),
  ];
}

function notAfter(values: string): Series {
  return target('certificate_not_after_timestamp_seconds', values);
}

/** Runs of a step, in seconds each; one each `scrapes`. Each list is one prober's: the next counts anew. */
function step(
  functionName: string,
  lives: readonly (readonly number[])[],
  scrapes = 1,
  labels = {},
): Series[] {
  const counts: number[] = [];
  const sums: number[] = [];
  for (const durations of lives) {
    let sum = 0;
    for (const [index, seconds] of durations.entries()) {
      sum += seconds;
      counts.push(...times(scrapes, index + 1));
      sums.push(...times(scrapes, sum));
    }
  }
  const all = { function_name: functionName, ...labels };
  return [
    target('step_duration_seconds_count', counts.join(' '), all),
    target('step_duration_seconds_sum', sums.join(' '), all),
  ];
}

function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

const FAILING = 'StorageProbeFailing';
const STALE = 'StorageProbeStale';
const UNKNOWN = 'StorageProbeUnknown';
const SLOW = 'StorageProbeSlow';
const CERTIFICATE = 'StorageProbeCertificateExpires';
const SPANS_DROPPED = 'StorageProbeSpansDropped';
const NO_LEADER = 'StorageProbeNoLeader';

const CASES: readonly Case[] = [
  {
    name: 'a store that fails, until it passes',
    series: [target('healthy', '1 0 0 1')],
    fires: { '0s': [], '30s': [FAILING], '1m': [FAILING], '90s': [] },
  },
  {
    name: 'a store that failed when its probe was suspended, or deleted',
    series: [target('healthy', '0 0 stale')],
    fires: { '30s': [FAILING], '1m': [] },
  },
  {
    name: 'a store that fails, while the leader changes',
    series: [target('healthy', '0 0 stale'), target('healthy', '_ 0x9', { pod: 'b' })],
    fires: { '30s': [FAILING], '1m': [FAILING], '4m': [FAILING] },
  },
  {
    name: 'a run that waits for its start, until it starts',
    series: scheduled(30, { lastRun: '0+30x20 600x40 1860x40', nextRun: '30+30x20 630x40 1890+30x40' }),
    fires: { '10m': [], '13m30s': [], '14m': [STALE], '30m': [STALE], '31m': [] },
  },
  {
    name: 'the first run of a probe, which waits for a slot',
    series: scheduled(30, { nextRun: '0x100', healthy: '_' }),
    fires: { '3m': [], '3m30s': [STALE], '20m': [STALE] },
  },
  {
    name: 'a probe that is run each second, and scraped each 4 minutes',
    series: scheduled(1, {
      lastRun: '0x100',
      nextRun: Array.from({ length: 60 }, (_, i) => (i % 8 === 0 ? i * 30 - 1 : '_')).join(' '),
    }),
    fires: { '7m30s': [], '8m': [], '27m30s': [] },
  },
  {
    name: 'a probe of business hours, in the evening and when its run does not start on Monday',
    interval: '5m',
    series: scheduled(3_600, { lastRun: '0x900', nextRun: `${64 * 3_600}x900` }),
    fires: { '1h': [], '16h': [], '64h': [], '64h5m': [], '64h10m': [STALE] },
  },
  {
    name: 'the first night of a probe that is run each night',
    interval: '5m',
    series: scheduled(DAY, {
      lastRun: '_x120 36000x200',
      nextRun: `36000x119 ${36_000 + DAY}x200`,
      healthy: '_x120 1x200',
    }),
    fires: { '5m': [], '9h': [], '10h': [], '15h': [] },
  },
  {
    name: 'a run that waits for its start, until its probe is suspended',
    series: [
      target('next_run_timestamp_seconds', '0x9 stale'),
      target('last_run_timestamp_seconds', '0x100'),
    ],
    fires: { '4m30s': [STALE], '5m': [], '20m': [] },
  },
  {
    name: 'a run that waits for its start, until its leader is gone and the next one makes it',
    series: [
      ...scheduled(60, { lastRun: '0x8', nextRun: '60x8' }),
      ...scheduled(60, { lastRun: '_x11 300+30x20', nextRun: '_x10 300+30x20', labels: { pod: 'b' } }),
    ],
    fires: { '4m30s': [STALE], '5m': [], '10m': [] },
  },
  {
    name: 'a store whose Secret is deleted, until it is back',
    series: scheduled(30, {
      lastRun: '0+30x9 270x50 1800+30x40',
      nextRun: '30+30x9 stale _x49 1830+30x40',
      healthy: '1x9 stale _x49 1x40',
    }),
    fires: { '9m30s': [], '10m': [UNKNOWN], '29m30s': [UNKNOWN], '30m': [] },
  },
  {
    name: 'a store whose Secret is missing from the start',
    series: scheduled(DAY, { healthy: '_' }),
    fires: { '4m30s': [], '5m': [UNKNOWN], '50m': [UNKNOWN] },
  },
  {
    name: 'an hourly probe whose address is not allowed, from the first run on',
    series: scheduled(3_600, { lastRun: '0x100', nextRun: '3600x100', healthy: '_' }),
    fires: { '4m30s': [], '5m': [UNKNOWN], '50m': [UNKNOWN] },
  },
  {
    name: 'a run now and then that could not tell',
    series: scheduled(30, {
      lastRun: '0+30x100',
      nextRun: '30+30x100',
      healthy: '1x9 stale 1x9 stale 1x80',
    }),
    fires: { '7m': [], '12m': [], '20m': [] },
  },
  {
    name: 'a suspended probe, whose health nobody knows',
    series: [target('consecutive_failures', '0x100'), target('last_run_timestamp_seconds', '0x100')],
    fires: { '20m': [], '50m': [] },
  },
  {
    name: 'a store that fails, and whose runs then cannot tell',
    series: scheduled(30, { lastRun: '0+30x100', nextRun: '30+30x100', healthy: '0x100' }),
    fires: { '20m': [FAILING] },
  },
  {
    name: 'a step that takes 4 times as long as the day before',
    interval: '3m',
    series: step('ADD_OBJECT', [[...times(520, 0.1), ...times(20, 0.4)]]),
    fires: { '26h20m': [], '27h': [SLOW] },
  },
  {
    name: 'a step that takes nearly 3 times as long, one that takes little still, and one of the prober alone',
    interval: '3m',
    series: [
      ...step('ADD_OBJECT', [[...times(520, 0.1), ...times(20, 0.29)]]),
      ...step('FETCH_OBJECT', [[...times(520, 0.01), ...times(20, 0.1)]]),
      ...step('CREATE_OBJECT', [[...times(520, 0.1), ...times(20, 0.4)]]),
    ],
    fires: { '26h30m': [], '27h': [] },
  },
  {
    name: 'one slow run among many',
    interval: '3m',
    series: step('ADD_OBJECT', [[...times(520, 0.01), 20, ...times(20, 0.01)]]),
    fires: { '26h9m': [], '26h15m': [], '26h24m': [] },
  },
  {
    name: 'a slow run of an hourly probe, and one of a daily probe, which has no past',
    interval: '5m',
    series: [
      ...step('ADD_OBJECT', [[...times(30, 0.1), 2]], 12),
      ...step('ADD_OBJECT', [[0.1, 9]], 288, { probe: 'daily' }),
    ],
    fires: { '24h20m': [], '30h10m': [], '30h20m': [SLOW] },
  },
  {
    name: 'a step that is as before, when the prober restarts',
    interval: '3m',
    series: step('ADD_OBJECT', [times(520, 0.5), times(20, 0.5)]),
    fires: { '26h6m': [], '26h30m': [], '27h': [] },
  },
  {
    name: 'a certificate that ends within 14 days',
    interval: '5m',
    series: [...scheduled(300, {}), notAfter(`${15 * DAY}x400`)],
    fires: { '24h': [], '24h55m': [], '25h10m': [CERTIFICATE] },
  },
  {
    name: 'a certificate that was renewed in time, and then has ended all the same',
    interval: '5m',
    series: [...scheduled(300, {}), notAfter(`${15 * DAY}x290 ${90 * DAY}x290 100x100`)],
    fires: { '24h30m': [], '48h': [], '50h': [CERTIFICATE] },
  },
  {
    name: 'an old certificate of a suspended probe',
    interval: '5m',
    series: [notAfter(`${DAY}x400`)],
    fires: { '3h': [], '30h': [] },
  },
  {
    name: 'spans that are dropped, and the quarter of an hour after',
    series: [replica('storage_probe_spans_dropped_total', '0x10 7x60')],
    fires: { '5m': [], '6m': [SPANS_DROPPED], '19m': [SPANS_DROPPED], '21m': [] },
  },
  {
    name: 'spans that were dropped once, when the prober restarts',
    series: [
      replica('storage_probe_spans_dropped_total', '7x40 0x40'),
      replica('storage_probe_spans_dropped_total', '0x80', { pod: 'b' }),
    ],
    fires: { '15m': [], '21m': [], '30m': [] },
  },
  {
    name: 'two replicas of which none leads',
    series: [leads('1x4 0x20'), leads('0x30', { pod: 'b' })],
    fires: { '2m': [], '4m': [], '4m30s': [NO_LEADER] },
  },
  {
    name: 'two replicas of which the other leads after a while',
    series: [leads('1x4 stale'), leads('0x6 1x20', { pod: 'b' })],
    fires: { '3m': [], '5m': [], '10m': [] },
  },
  {
    name: 'no replica at all, where others lead',
    series: [leads('1x30', { name: 'kube-scheduler' }), leads('1x30', { namespace: 'other' })],
    fires: { '1m30s': [], '2m': [NO_LEADER] },
  },
];

describe('the rules', () => {
  it('are taken', async () => {
    await expect(checkRules(rules)).resolves.toBeUndefined();
  });

  it('are taken with odd values', async () => {
    const values = {
      alertLabels: { team: '{{ "storage" }}: "a\\b"', on_call: '1' },
      alerts: {
        failing: { for: '1h30m' },
        slow: { factor: 1e6, minimumSeconds: 1e-7 },
        certificate: { days: Number.MAX_SAFE_INTEGER },
      },
      extraRules: [{ alert: 'Mine', expr: 'vector(1)' }],
    };
    const odd = await renderRules(values, { release: '0'.repeat(53), namespace: '0-0' });
    await expect(checkRules(odd)).resolves.toBeUndefined();
  });

  it('are refused where a query is none', async () => {
    await expect(checkRules(recording(['sum by (']))).rejects.toThrow('unclosed left parenthesis');
  });

  it('stand in the guide', async () => {
    const shown = (await queriesOf('docs/guides/operate.md')).map(withoutSpace);
    const { rules: all = [] } = rules.groups[0] ?? {};
    const told = all.map(({ expr }) => expr).filter((expr) => !expr.includes('step_duration'));
    expect(told.length).toBeGreaterThan(5);
    expect(shown).toEqual(expect.arrayContaining(told.map(withoutSpace)));
  });
});

describe('Prometheus takes the queries', () => {
  it.each(['docs/guides/operate.md', 'docs/reference/metrics.md'])('of %s', async (page) => {
    const queries = await queriesOf(page);
    expect(queries.length).toBeGreaterThan(1);
    await expect(checkRules(recording(queries))).resolves.toBeUndefined();
  });

  it.each([
    { name: 'of all', selected: '.*' },
    { name: 'of two targets', selected: String.raw`(minio-1|minio\\.2)` },
  ])('of the dashboard, $name', async ({ selected }) => {
    const text = await readFile(join(chartPath('storage-probe'), 'dashboards/storage-probe.json'), 'utf8');
    const asked = [...text.matchAll(/"(?:expr|definition)": (".*")/g)].map(
      ([, found = '']) => JSON.parse(found) as string,
    );
    const queries = asked.map((query) =>
      query
        .replace(/^label_values\((.*), \w+\)$/, '$1')
        .replaceAll('$__rate_interval', '2m0s')
        .replaceAll(/\$(?:namespace|probe|target)\b/g, () => selected),
    );
    expect(queries.length).toBeGreaterThan(20);
    expect(queries.filter((query) => query.includes('$'))).toEqual([]);
    await expect(checkRules(recording(queries))).resolves.toBeUndefined();
  });
});

describe('what fires', () => {
  it.concurrent.each(CASES)('$name', async ({ series, fires, interval = '30s' }) => {
    const others = series.some((one) => one.series.startsWith('leader_')) ? [] : [leads('1x2000')];
    const test = {
      interval,
      input_series: [...series, ...others],
      promql_expr_test: Object.entries(fires).map(([at, names]) => ({
        eval_time: at,
        expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
        exp_samples: names.map((name) => ({ labels: `{alertname="${name}"}`, value: 1 })),
      })),
    };
    await expect(testRules(rules, test)).resolves.toBeUndefined();
  });

  it('is one case at least of each alert', () => {
    const fired = new Set(CASES.flatMap(({ fires }) => Object.values(fires).flat()));
    expect([...fired].toSorted()).toEqual(
      rules.groups.flatMap(({ rules: all }) => all.flatMap(({ alert = [] }) => alert)).toSorted(),
    );
  });

  it('comes of series that the operator has', () => {
    const families = new Map(
      new ProberMetrics({
        clock: new ManualClock(),
        version: '',
        nodeVersion: '',
        spanCounts: () => ({ delivered: 0, dropped: 0 }),
      })
        .describe()
        .map(({ name, labels }) => [name, labels]),
    );
    for (const { series } of CASES.flatMap((one) => one.series)) {
      const [name = '', labels = ''] = series.split(/[{}]/);
      const described = families.get(name.replace(/_(sum|count)$/, ''));
      const given = [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label);
      // What Prometheus adds at the scrape.
      const added = ['pod', 'namespace'].filter((label) => described?.includes(label) === false);
      const labelNames = [...(described ?? ['no such metric']), ...added].toSorted();
      expect({ series, labelNames: given.toSorted() }).toEqual({ series, labelNames });
    }
  });

  it('says what it is about, and what to do', async () => {
    const ref = { namespace: 'storage', probe: 'my-minio', target: 'minio-1' };
    const told = [
      {
        alertname: FAILING,
        severity: 'critical',
        labels: ref,
        summary: 'minio-1 fails',
        description:
          'The runs of storage/my-minio against minio-1 fail. Reason and trace: kubectl -n storage describe sprobe my-minio',
      },
      {
        alertname: STALE,
        severity: 'warning',
        labels: ref,
        summary: 'minio-1 is not probed',
        description:
          'A run of storage/my-minio against minio-1 was due 2h 0m 0s ago, and has not started: the operator is stuck or overloaded.',
      },
      {
        alertname: CERTIFICATE,
        severity: 'warning',
        labels: ref,
        summary: 'The certificate of minio-1 ends in 13d 12h 0m 0s',
        description: 'Seen by storage/my-minio.',
      },
      {
        alertname: SPANS_DROPPED,
        severity: 'warning',
        labels: { namespace: 'storage-probe', pod: 'a' },
        summary: 'Traces of storage-probe are lost',
        description:
          'storage-probe/a gave up about 14 spans within 15 minutes: the Collector was away for too long, or refused them.',
      },
      {
        alertname: NO_LEADER,
        severity: 'critical',
        labels: {},
        summary: 'No replica of storage-probe leads',
        description:
          'No replica of storage-probe/storage-probe holds its Lease: nobody probes or, while the API server is away, nobody writes.',
      },
    ];
    const test = {
      interval: '1m',
      input_series: [
        ...scheduled(60, { nextRun: '0x120', healthy: '0x120' }),
        notAfter(`${7_200 + 13.5 * DAY}x120`),
        replica('storage_probe_spans_dropped_total', '0x110 14x10'),
        leads('0x120'),
      ],
      alert_rule_test: told.map(({ alertname, severity, labels, ...annotations }) => ({
        eval_time: '2h',
        alertname,
        exp_alerts: [{ exp_labels: { severity, ...labels }, exp_annotations: annotations }],
      })),
    };
    await expect(testRules(rules, test)).resolves.toBeUndefined();
  });
});

/** What stands in the promql blocks of a page: each query begins at the margin, and its other lines do not. */
async function queriesOf(page: string): Promise<string[]> {
  const text = await readFile(new URL(page, ROOT), 'utf8');
  return [...text.matchAll(/^```promql\n(.*?)^```/gms)].flatMap(([, block = '']) =>
    block
      .replaceAll(/^#.*\n/gm, '')
      .split(/\n+(?=\S)/)
      .map((query) => query.trim()),
  );
}

function recording(queries: readonly string[]): RuleGroups {
  const all = queries.map((expr, index) => ({ record: `query:${index}`, expr }));
  return { groups: [{ name: 'queries', rules: all }] };
}

function withoutSpace(text: string): string {
  return text.replaceAll(/\s+/g, '');
}
