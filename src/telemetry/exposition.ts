/** `openmetrics` tells exemplars as well. */
export type ExpositionFormat = 'prometheus' | 'openmetrics';

export const CONTENT_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

export interface FamilyInfo {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  readonly help: string;
  readonly labels: readonly string[];
}

/** What a scraper with this `Accept` header likes best; OpenMetrics only for one that names it. */
export function negotiateFormat(accept = ''): ExpositionFormat {
  const weights = new Map<string, number>();
  for (const range of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    const weight = Number(parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? 1);
    weights.set(type, Math.max(weight, weights.get(type) ?? 0));
  }
  const openMetrics = weights.get('application/openmetrics-text') ?? 0;
  return openMetrics > 0 && openMetrics >= (weights.get('text/plain') ?? 0) ? 'openmetrics' : 'prometheus';
}

/** One measurement that a bucket or counter holds, with the trace that it is from. */
export interface Exemplar {
  readonly traceId: string;
  readonly value: number;
  /** Seconds since the epoch. */
  readonly timestampSeconds: number;
}

/** What follows a sample in OpenMetrics. */
export function formatExemplar(exemplar: Exemplar | undefined): string {
  if (exemplar === undefined) return '';
  const { traceId, value, timestampSeconds } = exemplar;
  return ` # {trace_id="${traceId}"} ${value} ${timestampSeconds}`;
}

/** The two lines before the samples of a family. OpenMetrics names a counter without its `_total`. */
export function header({ name, type, help }: FamilyInfo, format: ExpositionFormat): string {
  const family = format === 'openmetrics' && type === 'counter' ? name.replace(/_total$/, '') : name;
  return `# HELP ${family} ${help}\n# TYPE ${family} ${type}\n`;
}

/**
 * What prom-client writes in Prometheus' format, in OpenMetrics'. Its registry can be switched to OpenMetrics only for
 * good: the first exposition renames the counters.
 */
export function toOpenMetrics(text: string): string {
  return text
    .replaceAll(/^# HELP (\w+)_total (.*)\n# TYPE \1_total counter$/gm, '# HELP $1 $2\n# TYPE $1 counter')
    .replaceAll(/\n{2,}/g, '\n');
}

/** `namespace="storage",probe="my-minio"` */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(',');
}

function escapeLabel(value: string): string {
  return value
    .replaceAll('\\', String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll('\n', String.raw`\n`);
}
