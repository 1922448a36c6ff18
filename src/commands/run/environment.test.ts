import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { temporaryFolder } from '../../../test/support/command-context.ts';
import { InputError } from '../context.ts';
import { readEnvironment } from './environment.ts';

const KEYS = { accessKey: 'id', secretKey: 'hush#/;=' };
const KEY_VARIABLES = { AWS_ACCESS_KEY_ID: 'env', AWS_SECRET_ACCESS_KEY: 'env' };
const FROM_VARIABLES = { accessKey: 'env', secretKey: 'env' };

const CREDENTIALS = `\
[default]
aws_access_key_id = id
aws_secret_access_key = hush#/;=

[my.lab]
aws_access_key_id=lab
aws_secret_access_key=lab-secret
aws_session_token=lab-token
[empty]
region = eu-4
`;
const CONFIG = `\
[default]
region = eu-1
[profile my.lab]
region = eu-2
[profile sso]
sso_session = corp
region = eu-3
[profile pod]
role_arn = arn:aws:iam::1:role/pod
web_identity_token_file = /token
`;

/** Variables that name files with the profiles above. */
async function files(more: Record<string, string> = {}): Promise<Record<string, string>> {
  const folder = await temporaryFolder();
  const [credentials, config] = [join(folder, 'credentials'), join(folder, 'config')];
  await Promise.all([writeFile(credentials, CREDENTIALS), writeFile(config, CONFIG)]);
  return { AWS_SHARED_CREDENTIALS_FILE: credentials, AWS_CONFIG_FILE: config, ...more };
}

describe('a profile', () => {
  it.each([
    { name: 'default', env: {}, want: { credentials: KEYS, region: 'eu-1' } },
    {
      name: 'named by AWS_PROFILE',
      env: { AWS_PROFILE: 'my.lab' },
      want: {
        credentials: { accessKey: 'lab', secretKey: 'lab-secret', sessionToken: 'lab-token' },
        region: 'eu-2',
      },
    },
    {
      name: 'named by AWS_DEFAULT_PROFILE',
      env: { AWS_DEFAULT_PROFILE: 'my.lab' },
      want: { region: 'eu-2' },
    },
    {
      name: 'with a web identity',
      env: { AWS_PROFILE: 'pod' },
      want: {
        webIdentity: { tokenFile: '/token', roleArn: 'arn:aws:iam::1:role/pod' },
        usesWebIdentity: true,
      },
    },
    {
      name: 'overridden by keys in variables',
      env: { AWS_PROFILE: 'my.lab', ...KEY_VARIABLES },
      want: { credentials: FROM_VARIABLES, region: 'eu-2', usesWebIdentity: false },
    },
    {
      name: 'overridden by the web identity of variables',
      env: { AWS_PROFILE: 'my.lab', AWS_WEB_IDENTITY_TOKEN_FILE: '/t', AWS_ROLE_ARN: 'r' },
      want: { webIdentity: { tokenFile: '/t', roleArn: 'r' }, usesWebIdentity: true },
    },
    { name: 'overridden by AWS_DEFAULT_REGION', env: { AWS_DEFAULT_REGION: 'a' }, want: { region: 'a' } },
    {
      name: 'overridden by AWS_REGION',
      env: { AWS_DEFAULT_REGION: 'a', AWS_REGION: 'b' },
      want: { region: 'b' },
    },
  ])('$name', async ({ env, want }) => {
    expect(await readEnvironment(await files(env))).toMatchObject(want);
  });

  it.each([
    {
      name: 'is missing',
      profile: 'nope',
      fault: /^AWS_PROFILE: profile "nope" not found in .*credentials and /,
    },
    { name: 'has no keys', profile: 'empty', fault: /^AWS_PROFILE: profile "empty" has no keys; accepted: / },
    {
      name: 'uses single sign-on',
      profile: 'sso',
      fault: /^AWS_PROFILE: profile "sso" uses sso_session, which is not supported; accepted: /,
    },
    { name: 'is a property of every object', profile: 'constructor', fault: /not found/ },
  ])('that $name is reported only if it is needed', async ({ profile, fault }) => {
    const { credentials, fault: found } = await readEnvironment(await files({ AWS_PROFILE: profile }));
    expect(credentials).toBeUndefined();
    expect(found).toMatch(fault);
    const env = await files({ AWS_PROFILE: profile, ...KEY_VARIABLES });
    expect((await readEnvironment(env)).credentials).toEqual(FROM_VARIABLES);
  });

  it('is not read unless a variable asks for it', async () => {
    const folder = await temporaryFolder();
    expect((await readEnvironment({ HOME: folder })).credentials).toBeUndefined();
  });

  it('is not read from an endless file', async () => {
    await expect(readEnvironment({ AWS_SHARED_CREDENTIALS_FILE: '/dev/zero' })).rejects.toThrow(
      '/dev/zero: is not a file',
    );
  });
});

describe('a web identity', () => {
  it('can have another STS endpoint', async () => {
    const env = { AWS_WEB_IDENTITY_TOKEN_FILE: '/t', AWS_ENDPOINT_URL_STS: 'http://sts:9000' };
    expect((await readEnvironment(env)).webIdentity).toEqual({
      tokenFile: '/t',
      stsEndpoint: 'http://sts:9000',
    });
    await expect(readEnvironment({ AWS_ENDPOINT_URL_STS: 'sts' })).rejects.toThrow(InputError);
  });

  it('is not used if there are keys', async () => {
    const env = { AWS_WEB_IDENTITY_TOKEN_FILE: '/t', ...KEY_VARIABLES };
    expect(await readEnvironment(env)).toMatchObject({
      credentials: FROM_VARIABLES,
      usesWebIdentity: false,
    });
  });
});
