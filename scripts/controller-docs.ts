import { systemClock } from '../src/clock/system-clock.ts';
import { defaultOf, type Flag, FLAGS, flagName, OTEL_NOTE } from '../src/commands/controller/flags.ts';
import type { FamilyInfo } from '../src/telemetry/exposition.ts';
import { ProberMetrics } from '../src/telemetry/metrics.ts';

export function controllerFlagsPage(notice: string): string {
  const flags: readonly Flag[] = Object.values(FLAGS);
  const groups = Map.groupBy(flags, ({ group }) => group.replace(/:$/, ''));
  return `\
${notice}

# Flags of \`storage-probe controller\`

Each flag has an environment variable; the flag counts before it, and an empty variable counts as unset. A value that is not accepted ends the start with one line that names the flag or the variable, and exit code 2.

${OTEL_NOTE}

${[...groups].map(([group, members]) => `## ${group}\n\n${members.map(flagEntry).join('\n')}`).join('\n')}`;
}

function flagEntry(flag: Flag): string {
  const set = flag.otherwise === undefined ? `\`${flag.default}\`` : flag.otherwise;
  return `\
### \`${flag.flag}\`

${sentence(flag.help)}

- environment: \`${flag.env}\`
- default: ${set}
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

Served at \`/metrics\` of \`${flagName(FLAGS.listenAddress)}\` (${defaultOf(FLAGS.listenAddress)}), in Prometheus' text format or, for a scraper that takes it, in OpenMetrics'. Only OpenMetrics carries exemplars: the \`trace_id\` of the last run in each bucket of the durations of a target, and behind each count of its runs. Prometheus keeps them with \`--enable-feature=exemplar-storage\`.

## Of each target

All series of a target go when it is removed, with its probe or from it. A run whose verdict is \`Unknown\` is counted, and its durations are not: it did not measure the store. \`function_name\` names the step, and \`reason\` is one of [reasons](reasons.md).

${table(families.filter(isOfTarget))}

One alert fits all schedules: the first says that a store fails, the second that nobody looks, for a run was due a minute ago and has not started.

\`\`\`promql
storage_probe_healthy == 0
timestamp(storage_probe_next_run_timestamp_seconds) - storage_probe_next_run_timestamp_seconds > 60
\`\`\`

## Of the operator

Names that dashboards for controller-runtime know are the same here.

${table(families.filter((family) => !isOfTarget(family)))}

Besides these come those of the process, as prom-client has them: \`process_*\` and \`nodejs_*\`, with the lag of the event loop.
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
