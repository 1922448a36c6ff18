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
  /** Names of the alerts that fire at each time, exactly one instance each. */
  readonly fires: Readonly<Record<string, readonly string[]>>;
  /** Scrape interval and evaluation interval. Default `30s`. */
  readonly interval?: string;
}

const RELEASE = { release: 'storage-probe', namespace: 'storage-probe' };
const ROOT = new URL('../../', import.meta.url);
const DAY = 86_400;

let rules: RuleGroups;

beforeAll(async () => {
  rules = await renderRules({}, RELEASE);
});

/** A series of a target, as exported by the leader. */
function targetSeries(name: string, values: string, labels: object = {}): Series {
  const ref = { namespace: 'storage', probe: 'my-minio', target: 'minio-1', pod: 'a', ...labels };
  return { series: `storage_probe_${name}${labelsOf(ref)}`, values };
}

/** A series of a replica. */
function replicaSeries(name: string, values: string, labels: object = {}): Series {
  return { series: `${name}${labelsOf({ namespace: 'storage-probe', pod: 'a', ...labels })}`, values };
}

function leaderSeries(values: string, labels: object = {}): Series {
  return replicaSeries('leader_election_master_status', values, { name: 'storage-probe', ...labels });
}

function labelsOf(labels: object): string {
  return `{${Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .join(',')}}`;
}

interface ScheduleValues {
  /** Values of the timestamp gauges. Default: no samples, for a target that has not run and has no planned run. */
  readonly lastRun?: string;
  readonly nextRun?: string;
  /** Default: always healthy. */
  readonly healthy?: string;
  readonly labels?: object;
}

/** The series of a scheduled target. */
function scheduleSeries(
  intervalSeconds: number,
  { lastRun = '_', nextRun = '_', healthy = '1x2000', labels }: ScheduleValues,
): Series[] {
  return [
    targetSeries('schedule_interval_seconds', `${intervalSeconds}x2000`, labels),
    targetSeries('last_run_timestamp_seconds', lastRun, labels),
    targetSeries('next_run_timestamp_seconds', nextRun, labels),
    targetSeries('healthy', healthy, labels),
  ];
}

function certificateSeries(values: string): Series {
  return targetSeries('certificate_not_after_timestamp_seconds', values);
}

/**
 * Count and sum series of a step.
 *
 * @param processes run durations in seconds, one list per prober process. Counters restart at 0 with each process.
 * @param scrapes number of scrapes per run.
 */
function stepSeries(
  functionName: string,
  processes: readonly (readonly number[])[],
  scrapes = 1,
  labels = {},
): Series[] {
  const counts: number[] = [];
  const sums: number[] = [];
  for (const durations of processes) {
    let sum = 0;
    for (const [index, seconds] of durations.entries()) {
      sum += seconds;
      counts.push(...repeat(scrapes, index + 1));
      sums.push(...repeat(scrapes, sum));
    }
  }
  const all = { function_name: functionName, ...labels };
  return [
    targetSeries('step_duration_seconds_count', counts.join(' '), all),
    targetSeries('step_duration_seconds_sum', sums.join(' '), all),
  ];
}

function repeat<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

const FAILING = 'StorageProbeFailing';
const STALE = 'StorageProbeStale';
const UNKNOWN = 'StorageProbeUnknown';
const SLOW = 'StorageProbeSlow';
const CERTIFICATE = 'StorageProbeCertificateExpires';
const SPANS_DROPPED = 'StorageProbeSpansDropped';
const NO_LEADER = 'StorageProbeNoLeader';
const NAMESPACE_FORBIDDEN = 'StorageProbeNamespaceForbidden';

const CASES: readonly Case[] = [
  {
    name: 'Failing fires until the store passes',
    series: [targetSeries('healthy', '1 0 0 1')],
    fires: { '0s': [], '30s': [FAILING], '1m': [FAILING], '90s': [] },
  },
  {
    name: 'Failing resolves when the probe is suspended or deleted',
    series: [targetSeries('healthy', '0 0 stale')],
    fires: { '30s': [FAILING], '1m': [] },
  },
  {
    name: 'Failing keeps firing while the leader changes',
    series: [targetSeries('healthy', '0 0 stale'), targetSeries('healthy', '_ 0x9', { pod: 'b' })],
    fires: { '30s': [FAILING], '1m': [FAILING], '4m': [FAILING] },
  },
  {
    name: 'Stale fires until the delayed run starts',
    series: scheduleSeries(30, { lastRun: '0+30x20 600x40 1860x40', nextRun: '30+30x20 630x40 1890+30x40' }),
    fires: { '10m': [], '13m30s': [], '14m': [STALE], '30m': [STALE], '31m': [] },
  },
  {
    name: 'Stale fires if the first run of a probe does not start',
    series: scheduleSeries(30, { nextRun: '0x100', healthy: '_' }),
    fires: { '3m': [], '3m30s': [STALE], '20m': [STALE] },
  },
  {
    name: 'Stale does not fire for a probe that runs every second but is scraped every 4 minutes',
    series: scheduleSeries(1, {
      lastRun: '0x100',
      nextRun: Array.from({ length: 60 }, (_, i) => (i % 8 === 0 ? i * 30 - 1 : '_')).join(' '),
    }),
    fires: { '7m30s': [], '8m': [], '27m30s': [] },
  },
  {
    name: 'Stale ignores the weekend of a business-hours probe but fires if it does not start on Monday',
    interval: '5m',
    series: scheduleSeries(3_600, { lastRun: '0x900', nextRun: `${64 * 3_600}x900` }),
    fires: { '1h': [], '16h': [], '64h': [], '64h5m': [], '64h10m': [STALE] },
  },
  {
    name: 'no alert fires before or after the first run of a nightly probe',
    interval: '5m',
    series: scheduleSeries(DAY, {
      lastRun: '_x120 36000x200',
      nextRun: `36000x119 ${36_000 + DAY}x200`,
      healthy: '_x120 1x200',
    }),
    fires: { '5m': [], '9h': [], '10h': [], '15h': [] },
  },
  {
    name: 'Stale resolves when the probe is suspended',
    series: [
      targetSeries('next_run_timestamp_seconds', '0x9 stale'),
      targetSeries('last_run_timestamp_seconds', '0x100'),
    ],
    fires: { '4m30s': [STALE], '5m': [], '20m': [] },
  },
  {
    name: 'Stale resolves when a new leader starts the delayed run',
    series: [
      ...scheduleSeries(60, { lastRun: '0x8', nextRun: '60x8' }),
      ...scheduleSeries(60, { lastRun: '_x11 300+30x20', nextRun: '_x10 300+30x20', labels: { pod: 'b' } }),
    ],
    fires: { '4m30s': [STALE], '5m': [], '10m': [] },
  },
  {
    name: 'Unknown fires after the Secret is deleted, until it is restored',
    series: scheduleSeries(30, {
      lastRun: '0+30x9 270x50 1800+30x40',
      nextRun: '30+30x9 stale _x49 1830+30x40',
      healthy: '1x9 stale _x49 1x40',
    }),
    fires: { '9m30s': [], '10m': [UNKNOWN], '29m30s': [UNKNOWN], '30m': [] },
  },
  {
    name: 'Unknown fires if the Secret is missing from the start',
    series: scheduleSeries(DAY, { healthy: '_' }),
    fires: { '4m30s': [], '5m': [UNKNOWN], '50m': [UNKNOWN] },
  },
  {
    name: 'Unknown fires for an hourly probe whose address is never allowed',
    series: scheduleSeries(3_600, { lastRun: '0x100', nextRun: '3600x100', healthy: '_' }),
    fires: { '4m30s': [], '5m': [UNKNOWN], '50m': [UNKNOWN] },
  },
  {
    name: 'Unknown does not fire for occasional Unknown runs',
    series: scheduleSeries(30, {
      lastRun: '0+30x100',
      nextRun: '30+30x100',
      healthy: '1x9 stale 1x9 stale 1x80',
    }),
    fires: { '7m': [], '12m': [], '20m': [] },
  },
  {
    name: 'no alert fires for a suspended probe',
    series: [
      targetSeries('consecutive_failures', '0x100'),
      targetSeries('last_run_timestamp_seconds', '0x100'),
    ],
    fires: { '20m': [], '50m': [] },
  },
  {
    name: 'only Failing fires if a failing store then has Unknown runs',
    series: scheduleSeries(30, { lastRun: '0+30x100', nextRun: '30+30x100', healthy: '0x100' }),
    fires: { '20m': [FAILING] },
  },
  {
    name: 'Slow fires if a step takes 4 times as long as the day before',
    interval: '3m',
    series: stepSeries('ADD_OBJECT', [[...repeat(520, 0.1), ...repeat(20, 0.4)]]),
    fires: { '26h20m': [], '27h': [SLOW] },
  },
  {
    name: 'Slow does not fire below the factor, below the minimum, or for CREATE_OBJECT',
    interval: '3m',
    series: [
      ...stepSeries('ADD_OBJECT', [[...repeat(520, 0.1), ...repeat(20, 0.29)]]),
      ...stepSeries('FETCH_OBJECT', [[...repeat(520, 0.01), ...repeat(20, 0.1)]]),
      ...stepSeries('CREATE_OBJECT', [[...repeat(520, 0.1), ...repeat(20, 0.4)]]),
    ],
    fires: { '26h30m': [], '27h': [] },
  },
  {
    name: 'Slow does not fire for one slow run among many',
    interval: '3m',
    series: stepSeries('ADD_OBJECT', [[...repeat(520, 0.01), 20, ...repeat(20, 0.01)]]),
    fires: { '26h9m': [], '26h15m': [], '26h24m': [] },
  },
  {
    name: 'Slow fires for a slow run of an hourly probe, but not for a daily probe without history',
    interval: '5m',
    series: [
      ...stepSeries('ADD_OBJECT', [[...repeat(30, 0.1), 2]], 12),
      ...stepSeries('ADD_OBJECT', [[0.1, 9]], 288, { probe: 'daily' }),
    ],
    fires: { '24h20m': [], '30h10m': [], '30h20m': [SLOW] },
  },
  {
    name: 'Slow does not fire when the prober restarts',
    interval: '3m',
    series: stepSeries('ADD_OBJECT', [repeat(520, 0.5), repeat(20, 0.5)]),
    fires: { '26h6m': [], '26h30m': [], '27h': [] },
  },
  {
    name: 'CertificateExpires fires less than 14 days before expiry',
    interval: '5m',
    series: [...scheduleSeries(300, {}), certificateSeries(`${15 * DAY}x400`)],
    fires: { '24h': [], '24h55m': [], '25h10m': [CERTIFICATE] },
  },
  {
    name: 'CertificateExpires does not fire for a renewed certificate, but fires for an expired certificate',
    interval: '5m',
    series: [...scheduleSeries(300, {}), certificateSeries(`${15 * DAY}x290 ${90 * DAY}x290 100x100`)],
    fires: { '24h30m': [], '48h': [], '50h': [CERTIFICATE] },
  },
  {
    name: 'CertificateExpires ignores suspended probes',
    interval: '5m',
    series: [certificateSeries(`${DAY}x400`)],
    fires: { '3h': [], '30h': [] },
  },
  {
    name: 'SpansDropped fires for 15 minutes after spans are dropped',
    series: [replicaSeries('storage_probe_spans_dropped_total', '0x10 7x60')],
    fires: { '5m': [], '6m': [SPANS_DROPPED], '19m': [SPANS_DROPPED], '21m': [] },
  },
  {
    name: 'SpansDropped does not fire when the prober restarts',
    series: [
      replicaSeries('storage_probe_spans_dropped_total', '7x40 0x40'),
      replicaSeries('storage_probe_spans_dropped_total', '0x80', { pod: 'b' }),
    ],
    fires: { '15m': [], '21m': [], '30m': [] },
  },
  {
    name: 'NoLeader fires if neither of two replicas leads',
    series: [leaderSeries('1x4 0x20'), leaderSeries('0x30', { pod: 'b' })],
    fires: { '2m': [], '4m': [], '4m30s': [NO_LEADER] },
  },
  {
    name: 'NoLeader does not fire if the other replica soon takes over',
    series: [leaderSeries('1x4 stale'), leaderSeries('0x6 1x20', { pod: 'b' })],
    fires: { '3m': [], '5m': [], '10m': [] },
  },
  {
    name: 'NoLeader fires without replicas, even if other controllers have leaders',
    series: [leaderSeries('1x30', { name: 'kube-scheduler' }), leaderSeries('1x30', { namespace: 'other' })],
    fires: { '1m30s': [], '2m': [NO_LEADER] },
  },
  {
    name: 'NamespaceForbidden fires while a watched namespace is skipped, but not for a short refusal',
    series: [
      leaderSeries('1x80'),
      replicaSeries('storage_probe_forbidden_namespaces', '0x4 1x4 0x8 2x30 0x10'),
    ],
    fires: { '5m': [], '18m30s': [], '19m30s': [NAMESPACE_FORBIDDEN], '25m30s': [] },
  },
];

describe('the rules', () => {
  it('pass promtool check', async () => {
    await expect(checkRules(rules)).resolves.toBeUndefined();
  });

  it('pass promtool check with unusual values', async () => {
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

  it('fail promtool check with an invalid query', async () => {
    await expect(checkRules(recording(['sum by (']))).rejects.toThrow('unclosed left parenthesis');
  });

  it('are documented in the guide', async () => {
    const shown = (await queriesOf('docs/guides/operate.md')).map(withoutSpace);
    const { rules: all = [] } = rules.groups[0] ?? {};
    const expected = all.map(({ expr }) => expr).filter((expr) => !expr.includes('step_duration'));
    expect(expected.length).toBeGreaterThan(5);
    expect(shown).toEqual(expect.arrayContaining(expected.map(withoutSpace)));
  });
});

describe('promtool accepts the queries', () => {
  it.each(['docs/guides/operate.md', 'docs/reference/metrics.md'])('in %s', async (page) => {
    const queries = await queriesOf(page);
    expect(queries.length).toBeGreaterThan(1);
    await expect(checkRules(recording(queries))).resolves.toBeUndefined();
  });

  it.each([
    { name: 'all targets selected', selected: '.*' },
    { name: 'two targets selected', selected: String.raw`(minio-1|minio\\.2)` },
  ])('in the dashboard with $name', async ({ selected }) => {
    const text = await readFile(join(chartPath('storage-probe'), 'dashboards/storage-probe.json'), 'utf8');
    const expressions = [...text.matchAll(/"(?:expr|definition)": (".*")/g)].map(
      ([, found = '']) => JSON.parse(found) as string,
    );
    const queries = expressions.map((query) =>
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

describe('the alerts', () => {
  it.concurrent.each(CASES)('$name', async ({ series, fires, interval = '30s' }) => {
    const others = series.some(({ series: name }) => name.startsWith('leader_'))
      ? []
      : [leaderSeries('1x2000')];
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

  it('each fire in at least one case', () => {
    const fired = new Set(CASES.flatMap(({ fires }) => Object.values(fires).flat()));
    expect([...fired].toSorted()).toEqual(
      rules.groups.flatMap(({ rules: all }) => all.flatMap(({ alert = [] }) => alert)).toSorted(),
    );
  });

  it('are tested with series that the operator exports', () => {
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
    for (const { series } of CASES.flatMap((testCase) => testCase.series)) {
      const [name = '', labels = ''] = series.split(/[{}]/);
      const described = families.get(name.replace(/_(sum|count)$/, ''));
      const given = [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label);
      // Prometheus adds these labels when it scrapes.
      const added = ['pod', 'namespace'].filter((label) => described?.includes(label) === false);
      const labelNames = [...(described ?? ['no such metric']), ...added].toSorted();
      expect({ series, labelNames: given.toSorted() }).toEqual({ series, labelNames });
    }
  });

  it('have labels and annotations that name the target and say what to do', async () => {
    const ref = { namespace: 'storage', probe: 'my-minio', target: 'minio-1' };
    const expected = [
      {
        alertname: FAILING,
        severity: 'critical',
        labels: ref,
        summary: 'minio-1 is failing',
        description:
          'Runs of storage/my-minio against minio-1 are failing. To see the reason and the trace: kubectl -n storage describe sprobe my-minio',
      },
      {
        alertname: STALE,
        severity: 'warning',
        labels: ref,
        summary: 'minio-1 is not being probed',
        description:
          'A run of storage/my-minio against minio-1 was due 2h 0m 0s ago but has not started: the operator is stuck or overloaded.',
      },
      {
        alertname: CERTIFICATE,
        severity: 'warning',
        labels: ref,
        summary: 'The certificate of minio-1 expires in 13d 12h 0m 0s',
        description: 'Reported by storage/my-minio.',
      },
      {
        alertname: SPANS_DROPPED,
        severity: 'warning',
        labels: { namespace: 'storage-probe', pod: 'a' },
        summary: 'storage-probe is losing traces',
        description:
          'storage-probe/a dropped about 14 spans in 15 minutes: the Collector was unreachable for too long or refused them.',
      },
      {
        alertname: NO_LEADER,
        severity: 'critical',
        labels: {},
        summary: 'storage-probe has no leader',
        description:
          'No replica of storage-probe/storage-probe holds the Lease. No probes are running. If the cause is an unreachable API server, probes still run, but no status is written.',
      },
    ];
    const test = {
      interval: '1m',
      input_series: [
        ...scheduleSeries(60, { nextRun: '0x120', healthy: '0x120' }),
        certificateSeries(`${7_200 + 13.5 * DAY}x120`),
        replicaSeries('storage_probe_spans_dropped_total', '0x110 14x10'),
        leaderSeries('0x120'),
      ],
      alert_rule_test: expected.map(({ alertname, severity, labels, ...annotations }) => ({
        eval_time: '2h',
        alertname,
        exp_alerts: [{ exp_labels: { severity, ...labels }, exp_annotations: annotations }],
      })),
    };
    await expect(testRules(rules, test)).resolves.toBeUndefined();
  });
});

/** Returns the queries in a page's promql blocks. A query starts at the margin. Its further lines are indented. */
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
