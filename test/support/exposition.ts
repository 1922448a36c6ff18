import type { ProberMetrics } from '../../src/telemetry/metrics.ts';

export const OPENMETRICS = 'application/openmetrics-text;version=1.0.0';

export async function textOf(metrics: ProberMetrics, accept?: string): Promise<string> {
  let text = '';
  for await (const chunk of metrics.expose(accept).chunks) text += chunk;
  return text;
}

/** Sample lines that start with `prefix`, for example `storage_probe_runs_total{`. */
export async function samplesOf(metrics: ProberMetrics, prefix: string, accept?: string): Promise<string[]> {
  return (await textOf(metrics, accept)).split('\n').filter((line) => line.startsWith(prefix));
}

/** Values of the samples whose lines contain all `parts`, keyed by name and labels. */
export function samplesIn(text: string, parts: readonly string[]): Map<string, number> {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#') && parts.every((part) => line.includes(part)));
  return new Map(
    lines.map((line): [string, number] => {
      const space = line.lastIndexOf(' ');
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

const VALUE = String.raw`(-?[0-9.]+(e[-+]?[0-9]+)?|\+Inf|-Inf|Na[Nn])`;
const LABELS = String.raw`\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\}`;
const SAMPLE = new RegExp(
  `^(?<name>[a-z_0-9]+)(?<labels>${LABELS})? ${VALUE}(?<exemplar> # ${LABELS} ${VALUE} ${VALUE})?$`,
);
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ['_total'],
  gauge: [''],
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
};

/**
 * Checks the text against OpenMetrics rules. Each family appears once and is contiguous, each sample belongs to its
 * family and is unique, only buckets and counters have exemplars, and the text ends with `# EOF`.
 *
 * Source: OpenMetrics specification 1.0, "Text Format".
 */
export function openMetricsErrors(text: string): string[] {
  const errors: string[] = [];
  const families = new Set<string>();
  const samples = new Set<string>();
  let family = { name: '', type: '' };
  const lines = text.split('\n');
  if (!text.endsWith('\n# EOF\n')) errors.push('missing # EOF at the end');
  for (const line of lines.slice(0, -2)) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line) ?? [];
    if (kind === 'HELP') {
      if (families.has(name)) errors.push(`duplicate: ${line}`);
      families.add(name);
      family = { name, type: '' };
      continue;
    }
    if (kind === 'TYPE') {
      if (name !== family.name) errors.push(`TYPE of another family: ${line}`);
      family.type = rest;
      continue;
    }
    const sample = SAMPLE.exec(line)?.groups;
    if (sample === undefined) {
      errors.push(`not a sample: ${line}`);
      continue;
    }
    const suffix = sample['name']?.slice(family.name.length) ?? '';
    if (!line.startsWith(family.name) || SUFFIXES[family.type]?.includes(suffix) !== true) {
      errors.push(`not a sample of ${family.type} ${family.name}: ${line}`);
    }
    const id = `${sample['name']}${sample['labels']}`;
    if (samples.has(id)) errors.push(`duplicate: ${line}`);
    samples.add(id);
    if (sample['exemplar'] !== undefined && suffix !== '_bucket' && suffix !== '_total') {
      errors.push(`unexpected exemplar: ${line}`);
    }
  }
  return errors;
}
