import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { getBinary } from '../../deploy/local/binary.ts';
import { runCommand } from '../../deploy/local/command.ts';
import { renderChart, type RenderOptions } from '../../deploy/local/helm.ts';

export interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
}

export interface RuleGroups {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

/** A scraped series. `values` contains one value per test interval, in promtool's notation. */
export interface Series {
  readonly series: string;
  readonly values: string;
}

export interface RuleTest {
  /** Scrape interval and evaluation interval. */
  readonly interval: string;
  readonly input_series: readonly Series[];
  readonly promql_expr_test?: readonly object[];
  readonly alert_rule_test?: readonly object[];
}

const TIMEOUT_MS = 30_000;

/** Renders the rule groups from the operator's chart. */
export async function renderRules(values: object = {}, options?: RenderOptions): Promise<RuleGroups> {
  const prometheusRule = { enabled: true, ...values };
  const rendered = await renderChart('storage-probe', { prometheusRule }, options);
  return rendered.find(({ kind }) => kind === 'PrometheusRule')?.['spec'] as RuleGroups;
}

/** @throws Error with promtool's output if it finds a problem. */
export async function checkRules(rules: RuleGroups): Promise<void> {
  await runPromtool(['check', 'rules', '--lint=all', '--lint-fatal', 'rules.yaml'], { 'rules.yaml': rules });
}

/** @throws Error with the expected and actual results if the test fails. */
export async function testRules(rules: RuleGroups, test: RuleTest): Promise<void> {
  await runPromtool(['test', 'rules', 'test.yaml'], {
    'rules.yaml': rules,
    'test.yaml': {
      rule_files: ['rules.yaml'],
      evaluation_interval: test.interval,
      tests: [test],
    },
  });
}

async function runPromtool(args: readonly string[], files: Readonly<Record<string, object>>): Promise<void> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'storage-probe-promtool-'));
  for (const [name, content] of Object.entries(files))
    await writeFile(join(folder.path, name), JSON.stringify(content));
  await runCommand(await getBinary('promtool'), args, {
    cwd: folder.path,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}
