import { systemClock } from '../src/clock/system-clock.ts';
import {
  defaultDescription,
  type Flag,
  FLAGS,
  flagName,
  OTEL_NOTE,
} from '../src/commands/controller/flags.ts';
import type { FamilyInfo } from '../src/telemetry/exposition.ts';
import { ProberMetrics } from '../src/telemetry/metrics.ts';

export function controllerFlagsPage(notice: string): string {
  const flags: readonly Flag[] = Object.values(FLAGS);
  const groups = Map.groupBy(flags, ({ group }) => group.replace(/:$/, ''));
  return `\
${notice}

# Flags of \`storage-probe controller\`

Each flag has an environment variable. The flag overrides the variable, and an empty variable counts as unset. If a value is invalid, the controller prints one line that names the flag or variable, and exits with code 2.

${OTEL_NOTE}

${[...groups].map(([group, members]) => `## ${group}\n\n${members.map(flagEntry).join('\n')}`).join('\n')}`;
}

function flagEntry(flag: Flag): string {
  const defaultValue = flag.defaultText === undefined ? `\`${flag.default}\`` : flag.defaultText;
  return `\
### \`${flag.flag}\`

${sentence(flag.help)}

- environment: \`${flag.env}\`
- default: ${defaultValue}
- accepted: ${flag.accepted}
`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

export function metricsPage(notice: string): string {
  const metrics = new ProberMetrics({
    clock: systemClock,
    version: '',
    nodeVersion: '',
    processMetrics: false,
    spanCounts: () => ({ delivered: 0, dropped: 0 }),
  });
  const families = metrics.describe();
  return `\
${notice}

# Metrics

Served at \`/metrics\` on \`${flagName(FLAGS.listenAddress)}\` (${defaultDescription(FLAGS.listenAddress)}), in the Prometheus text format or, if the scraper accepts it, the OpenMetrics format. Only OpenMetrics has exemplars: for each target, every duration bucket and every run counter has the \`trace_id\` of its last run. Prometheus stores exemplars only with \`--enable-feature=exemplar-storage\`.

## Target metrics

When a target or its probe is removed, all series of the target are removed. A run with verdict \`Unknown\` is counted, but its durations are not recorded, because it did not measure the store. \`function_name\` is the step. \`reason\` is one of the [reasons](reasons.md).

${table(families.filter(isOfTarget))}

These two alerts work for every schedule. The first fires if a store fails. The second fires if a run has been due for more than a minute and has not started.

\`\`\`promql
storage_probe_healthy == 0
timestamp(storage_probe_next_run_timestamp_seconds) - storage_probe_next_run_timestamp_seconds > 60
\`\`\`

## Operator metrics

Where controller-runtime has an equivalent metric, the name is the same, so dashboards for controller-runtime work.

${table(families.filter((family) => !isOfTarget(family)))}

prom-client adds the process metrics \`process_*\` and \`nodejs_*\`, including the event loop lag.
`;
}

function isOfTarget({ labels }: FamilyInfo): boolean {
  return labels.includes('target');
}

function table(families: readonly FamilyInfo[]): string {
  const rows = families.map(
    ({ name, type, labels, help }) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`,
  );
  return ['| Metric | Type | Labels | Meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
}
