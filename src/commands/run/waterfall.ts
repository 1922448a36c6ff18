import { REASONS } from '../../api/reasons.ts';
import type { CallResult, Phases, RunResult, StepResult } from '../../api/run.ts';
import { formatMs, type Paint, type Tone } from './text.ts';

const LABEL_WIDTH = 32;
const TIME_WIDTH = 9;
/** Wide enough for the phases of a call without DNS and TLS. */
const NOTE_WIDTH = 52;
const MIN_BAR_WIDTH = 16;
const MAX_BAR_WIDTH = 60;
/** Avoids a division by zero for a run with duration 0. */
const MIN_TOTAL_MS = 0.001;

export interface WaterfallOptions {
  readonly paint: Paint;
  /** Terminal width in characters. */
  readonly columns: number;
  readonly jaegerUrl?: string | undefined;
}

/** Renders a run: one row per step and call, with duration, bar and phases, then the verdict. */
export function waterfall(result: RunResult, options: WaterfallOptions): string[] {
  const { paint } = options;
  const { target, endpoint, bucket } = result;
  return [
    `${paint('strong', target)}  ${endpoint}  ${paint('quiet', `bucket ${bucket}`)}`,
    ...result.steps.flatMap((step) => stepLines(step, result.durationMs, options)),
    ...verdictLines(result, options),
  ];
}

export const VERDICT_TONES = { Passed: 'good', Failed: 'bad', Unknown: 'unsure' } as const;

/** Renders the verdict, the reason with its fix, leftovers and the trace link. */
export function verdictLines(result: RunResult, { paint, jaegerUrl }: WaterfallOptions): string[] {
  const { verdict, reason, failedStep, message, durationMs, traceId, leftBehind, target } = result;
  const why = reason === undefined ? '' : `: ${reason} in ${failedStep}`;
  const lines = [
    `${paint(VERDICT_TONES[verdict], `${verdict}${why}`)}  ${target}  ${formatMs(durationMs)}  trace ${traceId}`,
  ];
  if (message !== undefined) lines.push(`  what happened  ${message}`);
  if (reason !== undefined)
    lines.push(`  what it means  ${REASONS[reason].means}`, `  what to do     ${REASONS[reason].fix}`);
  if (leftBehind.length > 0) lines.push(`  left behind    ${leftBehind.join(', ')}`);
  if (jaegerUrl !== undefined) lines.push(`  open           ${traceLink(jaegerUrl, traceId)}`);
  return lines;
}

function traceLink(jaegerUrl: string, traceId: string): string {
  return `${jaegerUrl.replace(/\/+$/, '')}/trace/${traceId}`;
}

const OUTCOME_TONES = { passed: 'accent', failed: 'bad', skipped: 'quiet' } as const;

function stepLines(step: StepResult, totalMs: number, options: WaterfallOptions): string[] {
  const { paint } = options;
  if (step.startOffsetMs === undefined || step.durationMs === undefined) {
    return [paint('quiet', `${step.name.padEnd(LABEL_WIDTH)}${'skipped'.padStart(TIME_WIDTH)}`)];
  }
  const note = step.outcome === 'failed' ? (step.reason ?? '') : '';
  const row = { label: step.name, startMs: step.startOffsetMs, durationMs: step.durationMs, note };
  return [
    ...rowLines(row, OUTCOME_TONES[step.outcome], '█', totalMs, options),
    ...step.calls.flatMap((call) => callLines(call, totalMs, options)),
  ];
}

function callLines(call: CallResult, totalMs: number, options: WaterfallOptions): string[] {
  const label = `  ${call.operation} ${call.status ?? ''}`;
  const row = {
    label,
    startMs: call.startOffsetMs,
    durationMs: call.durationMs,
    note: phasesOf(call.phases),
  };
  return rowLines(row, call.reason === undefined ? 'quiet' : 'bad', '▒', totalMs, options);
}

interface Row {
  readonly label: string;
  readonly startMs: number;
  readonly durationMs: number;
  readonly note: string;
}

/** One line, or two if the note does not fit into the terminal width. */
function rowLines(
  row: Row,
  tone: Tone,
  mark: string,
  totalMs: number,
  { paint, columns }: WaterfallOptions,
): string[] {
  const room = columns - LABEL_WIDTH - TIME_WIDTH - NOTE_WIDTH - 4;
  const width = Math.min(MAX_BAR_WIDTH, Math.max(MIN_BAR_WIDTH, room));
  const bar = barOf(row, totalMs, width, mark);
  const text = `${row.label.padEnd(LABEL_WIDTH)}${formatMs(row.durationMs).padStart(TIME_WIDTH)}  `;
  const line = `${text}${paint(tone, bar)}`;
  if (row.note === '') return [line];
  const note = paint(tone === 'bad' ? 'bad' : 'quiet', row.note);
  const fits = text.length + width + 2 + row.note.length <= columns;
  return fits ? [`${line}${' '.repeat(2 + width - bar.length)}${note}`] : [line, `    ${note}`];
}

function barOf({ startMs, durationMs }: Row, totalMs: number, width: number, mark: string): string {
  const perCell = width / Math.max(totalMs, MIN_TOTAL_MS);
  const start = Math.min(width - 1, Math.floor(startMs * perCell));
  const length = Math.max(1, Math.min(width - start, Math.round(durationMs * perCell)));
  return `${' '.repeat(start)}${mark.repeat(length)}`;
}

const PHASE_LABELS: readonly (readonly [keyof Phases, string])[] = [
  ['waitMs', 'wait'],
  ['dnsMs', 'dns'],
  ['connectMs', 'connect'],
  ['proxyMs', 'proxy'],
  ['tlsMs', 'tls'],
  ['sendMs', 'send'],
  ['firstByteMs', 'first byte'],
  ['bodyMs', 'body'],
];

function phasesOf(phases: Phases): string {
  return PHASE_LABELS.flatMap(([phase, label]) => {
    const ms = phases[phase];
    return ms === undefined ? [] : [`${label} ${ms.toFixed(ms < 10 ? 1 : 0)}`];
  }).join(' · ');
}
