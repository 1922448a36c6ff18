import { stat } from 'node:fs/promises';
import { join } from 'node:path';

import { MAX_FILE_BYTES } from '../../api/documents.ts';
import { showText } from '../../api/problem.ts';
import type { Credentials } from '../../api/run.ts';
import { type CommandContext, InputError } from '../context.ts';

/** The settings of one profile that `run` uses. */
export interface AwsProfile {
  readonly credentials?: Credentials;
  readonly region?: string;
  readonly webIdentity?: { readonly tokenFile: string; readonly roleArn: string };
  /** Why there are no credentials, in one line. */
  readonly fault?: string;
}

/** Settings of the AWS tools for credential sources that `run` does not support. */
const UNSUPPORTED = [
  'sso_session',
  'sso_start_url',
  'credential_process',
  'source_profile',
  'credential_source',
];

/**
 * Reads the profile that `AWS_PROFILE` names from the files of the AWS CLI. As in the AWS CLI, the credentials file overrides
 * the configuration file, and `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` replace them.
 *
 * The profile is empty if none of these variables is set: the default profile is for the user's AWS account, and is not sent
 * to another store unless the user asks for it.
 *
 * @throws {InputError} if a file cannot be used.
 */
export async function readAwsProfile(env: CommandContext['env']): Promise<AwsProfile> {
  const variable = env['AWS_PROFILE'] ? 'AWS_PROFILE' : 'AWS_DEFAULT_PROFILE';
  const wanted = env[variable];
  if (!wanted && !env['AWS_SHARED_CREDENTIALS_FILE'] && !env['AWS_CONFIG_FILE']) return {};

  const folder = join(env['HOME'] || env['USERPROFILE'] || '.', '.aws');
  const filepath = env['AWS_SHARED_CREDENTIALS_FILE'] || join(folder, 'credentials');
  const configFilepath = env['AWS_CONFIG_FILE'] || join(folder, 'config');
  await checkSize(filepath, configFilepath);
  // Loaded only here, because few runs need it.
  const { loadSharedConfigFiles } = await import('@smithy/core/config');
  const { credentialsFile, configFile } = await loadSharedConfigFiles({
    filepath,
    configFilepath,
    ignoreCache: true,
  });
  const name = wanted || 'default';
  const [fromConfig, fromCredentials] = [own(configFile, name), own(credentialsFile, name)];
  if (fromConfig !== undefined || fromCredentials !== undefined) {
    return profileOf(name, { ...fromConfig, ...fromCredentials });
  }
  if (!wanted) return {};
  return { fault: `${variable}: profile ${showText(name)} not found in ${filepath} and ${configFilepath}` };
}

function profileOf(name: string, settings: Readonly<Record<string, string | undefined>>): AwsProfile {
  const {
    aws_access_key_id: accessKey,
    aws_secret_access_key: secretKey,
    aws_session_token: sessionToken,
    region,
    role_arn: roleArn,
    web_identity_token_file: tokenFile,
  } = settings;
  const credentials = accessKey &&
    secretKey && { accessKey, secretKey, ...(sessionToken && { sessionToken }) };
  const webIdentity = roleArn && tokenFile && { roleArn, tokenFile };
  return {
    ...(credentials && { credentials }),
    ...(webIdentity && { webIdentity }),
    ...(region && { region }),
    ...(!credentials && !webIdentity && { fault: faultOf(name, settings) }),
  };
}

function faultOf(name: string, settings: Readonly<Record<string, string | undefined>>): string {
  const unsupported = UNSUPPORTED.find((setting) => settings[setting]);
  const finding = unsupported === undefined ? 'has no keys' : `uses ${unsupported}, which is not supported`;
  return `AWS_PROFILE: profile ${showText(name)} ${finding}; accepted: aws_access_key_id and aws_secret_access_key, or role_arn and web_identity_token_file`;
}

/** The library reads a whole file, however large it is. */
async function checkSize(...files: readonly string[]): Promise<void> {
  for (const file of files) {
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) continue;
    if (!found.isFile()) throw new InputError(`${file}: is not a file`);
    if (found.size > MAX_FILE_BYTES) throw new InputError(`${file}: is too large; accepted: at most 1 MiB`);
  }
}

function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
