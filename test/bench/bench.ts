import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

import { ContenderProcess } from './contender-process.ts';
import {
  CONTENDER_NAMES,
  CONTENDERS,
  isContenderName,
  type Contender,
  type ContenderName,
} from './contenders.ts';
import type { Stretch } from './contenders/serve.ts';
import { OBJECT_BYTES, type Settings } from './contenders/settings.ts';
import { benchOperator, type ScenarioName, SCENARIO_NAMES } from './operator.ts';
import { profileContender } from './profile.ts';
import { PythonMissing } from './python.ts';
import { formatCosts, formatRatios, type Round } from './report.ts';
import { minioVersion, startServers, type Servers } from './servers.ts';
import { expectTraces } from './spans.ts';
import { measureStartUp } from './start-up.ts';

/** Enough that V8 has compiled what is hot: fewer flatter no contender, but shift with the machine's load. */
const WARM_UP_RUNS = 1_500;

const USAGE = `What a run of storage-probe costs, beside others that do the same; and what the operator costs that makes them.

  --rounds <n>   rounds; in each, every contender has its turn (10)
  --runs <n>     runs of a contender in its turn (50)
  --only <name>  contenders: ${CONTENDER_NAMES.join(', ')};
                 the operator: ${SCENARIO_NAMES.join(', ')}, operator for both; may be repeated
  --profile      where the CPU time goes, of ours or of those in --only
`;

interface Options {
  readonly rounds: number;
  readonly runs: number;
  readonly names: readonly ContenderName[];
}

interface Entry {
  readonly name: ContenderName;
  readonly contender: Contender;
  readonly process: ContenderProcess;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '10' },
      runs: { type: 'string', default: '50' },
      only: { type: 'string', multiple: true },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const rounds = positive('--rounds', values.rounds);
  const runs = positive('--runs', values.runs);
  const chosen = choose(values.only ?? (values.profile ? ['ours'] : [...CONTENDER_NAMES, 'operator']));

  if (chosen.contenders.length > 0) {
    await using servers = await startServers();
    if (values.profile) {
      for (const name of chosen.contenders) {
        await profileContender(name, settingsOf(name, servers), rounds * runs);
      }
    } else {
      await compare({ names: chosen.contenders, rounds, runs }, servers);
    }
  }
  if (values.only === undefined && !values.profile) console.log(`\n${measureStartUp()}`);
  if (chosen.scenarios.length > 0) await benchOperator(chosen.scenarios, { isProfiled: values.profile });
}

async function compare({ names, rounds, runs }: Options, servers: Servers): Promise<void> {
  const [cpu] = cpus();
  console.log(
    [`${cpus().length} cores (${cpu?.model})`, `Node ${process.versions.node}`, await minioVersion()].join(
      ' · ',
    ),
  );
  console.log(
    `${rounds} rounds of ${runs} runs, after ${WARM_UP_RUNS} to warm up; one object of ${OBJECT_BYTES} bytes.`,
  );

  const entries: Entry[] = [];
  try {
    for (const name of names) {
      const entry = await enter(name, servers);
      if (entry !== undefined) entries.push(entry);
    }
    const results: Round[] = [];
    for (let round = 0; round < rounds; round++) {
      results.push(await playRound(rotated(entries, round), runs, servers));
    }
    const entered = entries.map(({ name }) => name);
    console.log(`\n${formatCosts(entered, results)}`);
    console.log(
      'CPU is user + system of all threads, with the export of every span; wall is of the runs alone. Median of the rounds.',
    );
    if (entered.includes('ours') && entered.length > 1) console.log(`\n${formatRatios(entered, results)}`);
  } finally {
    await Promise.all(entries.map((entry) => entry.process.stop()));
  }
}

/** @returns undefined when the machine cannot run it. */
async function enter(name: ContenderName, servers: Servers): Promise<Entry | undefined> {
  const contender: Contender = CONTENDERS[name];
  try {
    const command = await contender.command([]);
    return {
      name,
      contender,
      process: await ContenderProcess.start(name, command, settingsOf(name, servers)),
    };
  } catch (error) {
    if (!(error instanceof PythonMissing)) throw error;
    console.log(`SKIPPED ${name} (${contender.title}): ${error.message}`);
    return undefined;
  }
}

async function playRound(entries: readonly Entry[], runs: number, servers: Servers): Promise<Round> {
  const round: Partial<Record<ContenderName, Stretch>> = {};
  for (const { name, contender, process: child } of entries) {
    const sinceMs = Date.now();
    round[name] = await child.run(runs);
    if (contender.traces === undefined) continue;
    // The run that brings a contender back to speed is traced too.
    await expectTraces(servers.jaeger.queryUrl, contender.traces, sinceMs, runs + 1);
  }
  return round;
}

function settingsOf(name: ContenderName, servers: Servers): Settings {
  return {
    endpoint: servers.minio.url,
    region: 'us-east-1',
    accessKey: servers.minio.rootUser,
    secretKey: servers.minio.rootPassword,
    bucket: `bench-${name}`,
    otlpEndpoint: servers.jaeger.otlpGrpcUrl,
    warmUpRuns: WARM_UP_RUNS,
  };
}

function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function choose(names: readonly string[]): {
  readonly contenders: readonly ContenderName[];
  readonly scenarios: readonly ScenarioName[];
} {
  const known: readonly string[] = [...CONTENDER_NAMES, ...SCENARIO_NAMES, 'operator'];
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`--only ${name}: it is one of ${known.join(', ')}`);
  }
  return {
    contenders: names.filter(isContenderName),
    scenarios: SCENARIO_NAMES.filter((name) => names.includes(name) || names.includes('operator')),
  };
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`${option} ${text}: a whole number above 0 is needed`);
}

await main();
